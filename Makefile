# isod: GNU make. Two commands for a newcomer: `make demo` and `make test`.
#   make            build/isod, build/isoctl, build/plugins/*
#   make help       every target
# SANITIZE=address,undefined or SANITIZE=thread builds apart, under build/san-*.

SHELL   := /bin/bash
CC      ?= gcc
CXX     ?= g++
comma   := ,
BUILD   := build$(if $(SANITIZE),/san-$(subst $(comma),-,$(SANITIZE)))
GEN     := $(BUILD)/gen

PKGS    := libevent libevent_openssl libevent_pthreads hiredis libprotobuf-c openssl simdjson libfyaml libpcre2-8 libsystemd
WARN    := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wpointer-arith -Wwrite-strings -Wvla
CWARN   := $(WARN) -Wstrict-prototypes -Wmissing-prototypes
HARDEN  := -fPIE -fstack-protector-strong -fstack-clash-protection $(if $(SANITIZE),,-D_FORTIFY_SOURCE=2)
OPT     ?= -O2 -g
SANFLAGS := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer)
# Looked up when first used, so that `make deps` runs before the libraries are there.
PKG_CFLAGS = $(eval PKG_CFLAGS := $$(patsubst -I%,-isystem %,$$(shell pkg-config --cflags $(PKGS))))$(PKG_CFLAGS)
PKG_LIBS   = $(eval PKG_LIBS := $$(shell pkg-config --libs $(PKGS)))$(PKG_LIBS)
INCLUDE = -Idaemon -Iplugins -isystem $(GEN) $(PKG_CFLAGS)
CFLAGS_ALL   = -std=c17 -D_GNU_SOURCE $(OPT) $(CWARN) $(HARDEN) $(SANFLAGS) $(INCLUDE) $(CFLAGS)
CXXFLAGS_ALL = -std=c++17 -D_GNU_SOURCE $(OPT) $(WARN) $(HARDEN) $(SANFLAGS) -fno-exceptions -fno-rtti $(INCLUDE) $(CXXFLAGS)
LDFLAGS_ALL  = -pie -Wl,-z,relro,-z,now $(SANFLAGS) $(LDFLAGS)

PROTO_SRC := $(wildcard proto/*.proto)
PROTO_C   := $(PROTO_SRC:proto/%.proto=$(GEN)/%.pb-c.c)
PROTO_H   := $(PROTO_C:.c=.h)
LIB_SRC   := $(sort $(wildcard daemon/*/*.c))
LIB_CXX   := $(sort $(wildcard daemon/*/*.cc))
LIB_OBJ   := $(LIB_SRC:%.c=$(BUILD)/%.o) $(LIB_CXX:%.cc=$(BUILD)/%.o) $(PROTO_C:.c=.o)
ISOD_OBJ  := $(BUILD)/daemon/isod.o $(BUILD)/daemon/daemon.o
ISOCTL_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(sort $(wildcard daemon/isoctl*.c)))
PLUGINS   := $(patsubst plugins/%/,%,$(wildcard plugins/*/))
PLUGIN_BIN := $(PLUGINS:%=$(BUILD)/plugins/%)
UNIT      := $(patsubst tests/unit/test_%.c,%,$(sort $(wildcard tests/unit/test_*.c)))
UNIT_BIN  := $(UNIT:%=$(BUILD)/tests/test_%)

.PHONY: all
all: $(BUILD)/isod $(BUILD)/isoctl $(PLUGIN_BIN)

$(GEN)/%.pb-c.c $(GEN)/%.pb-c.h: proto/%.proto
	@mkdir -p $(GEN)
	@protoc-c --c_out=$(GEN) -Iproto $<

$(GEN)/%.o: $(GEN)/%.c $(PROTO_H)
	@echo "  CC    $<"
	@$(CC) $(CFLAGS_ALL) -w -c -o $@ $<

$(BUILD)/%.o: %.c | $(PROTO_H)
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

$(BUILD)/%.o: %.cc
	@mkdir -p $(@D)
	@echo "  CXX   $<"
	@$(CXX) $(CXXFLAGS_ALL) -MMD -MP -c -o $@ $<

$(BUILD)/libisod.a: $(LIB_OBJ)
	@rm -f $@ && ar rcs $@ $^

$(BUILD)/isod: $(ISOD_OBJ) $(BUILD)/libisod.a
	@echo "  LINK  $@"
	@$(CXX) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lpthread

$(BUILD)/isoctl: $(ISOCTL_OBJ) $(BUILD)/libisod.a
	@echo "  LINK  $@"
	@$(CXX) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lpthread

$(BUILD)/tests/test_%: $(BUILD)/tests/unit/test_%.o $(BUILD)/libisod.a
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CXX) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lcriterion -lpthread

.PHONY: unit
unit: $(UNIT_BIN)
	@set -e; for t in $(UNIT_BIN); do $$t; done

# One module's unit tests: make unit-NAME
unit-%: $(BUILD)/tests/test_%
	@$<

.PHONY: clean
clean:
	rm -rf build

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
.SECONDARY:
