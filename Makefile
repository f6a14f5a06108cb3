# isod: GNU make. Two commands for a newcomer: `make demo` and `make test`. `make help` lists the rest.
# SANITIZE=address,undefined or SANITIZE=thread builds apart, under build/san-….

SHELL    := /bin/bash
# All cores, unless told otherwise with -j.
ifeq ($(filter -j% --jobserver%,$(MAKEFLAGS)),)
MAKEFLAGS := $(MAKEFLAGS) -j$(shell nproc)
endif
CC       := gcc
CXX      := g++
comma    := ,
BUILD    := build$(if $(SANITIZE),/san-$(subst $(comma),-,$(SANITIZE)))
GEN      := $(BUILD)/gen
DESTDIR  ?=
PREFIX   ?= /usr

# ---- flags ----

PKGS     := libevent libevent_openssl libevent_pthreads hiredis libprotobuf-c openssl simdjson libfyaml libpcre2-8 libhs libsystemd libzstd zlib libseccomp
WARN     := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wpointer-arith -Wwrite-strings -Wvla
CWARN    := $(WARN) -Wstrict-prototypes -Wmissing-prototypes
HARDEN   := -fPIE -fstack-protector-strong -fstack-clash-protection $(if $(SANITIZE),,-D_FORTIFY_SOURCE=2)
OPT      ?= -O2 -g
SANFLAGS := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer)
# Looked up when first used: by then `deps` has installed the libraries.
PKG_CFLAGS = $(eval PKG_CFLAGS := $$(patsubst -I%,-isystem %,$$(shell pkg-config --cflags $(PKGS))))$(PKG_CFLAGS)
PKG_LIBS   = $(eval PKG_LIBS := $$(shell pkg-config --libs $(PKGS)))$(PKG_LIBS)
INCLUDE  = -Idaemon -Iplugins $(if $(filter thread,$(SANITIZE)),-isystem tests/tsan) -isystem $(GEN) $(PKG_CFLAGS)
CFLAGS_ALL   = -std=c17 -D_GNU_SOURCE $(OPT) $(CWARN) $(HARDEN) $(SANFLAGS) $(INCLUDE) $(CFLAGS)
CXXFLAGS_ALL = -std=c++17 -D_GNU_SOURCE $(OPT) $(WARN) $(HARDEN) $(SANFLAGS) -fno-exceptions -fno-rtti $(INCLUDE) $(CXXFLAGS)
LDFLAGS_ALL  = -pie -Wl,--as-needed,-z,relro,-z,now $(SANFLAGS) $(LDFLAGS)

# ---- what there is ----

PROTO_SRC  := $(wildcard proto/*.proto)
PROTO_C    := $(PROTO_SRC:proto/%.proto=$(GEN)/%.pb-c.c)
PROTO_H    := $(PROTO_C:.c=.h)
LIB_OBJ    := $(patsubst %.c,$(BUILD)/%.o,$(sort $(wildcard daemon/*/*.c))) \
              $(patsubst %.cc,$(BUILD)/%.o,$(sort $(wildcard daemon/*/*.cc))) $(PROTO_C:.c=.o)
LIB        := $(BUILD)/libisod.a
ISOD_OBJ   := $(patsubst %.c,$(BUILD)/%.o,$(sort $(filter-out daemon/isoctl%,$(wildcard daemon/*.c))))
ISOCTL_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(sort $(wildcard daemon/isoctl*.c)))
PLUGINS    := $(patsubst plugins/%/,%,$(sort $(wildcard plugins/*/)))
UNIT       := $(patsubst tests/unit/test_%.c,%,$(sort $(wildcard tests/unit/test_*.c)))
FUZZ       := $(patsubst tests/fuzz/fuzz_%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
TIDY       := $(sort $(wildcard daemon/*.c daemon/*/*.c plugins/*.c plugins/*/*.c))
STYLED     := $(sort $(wildcard daemon/*.[ch] daemon/*/*.[ch] daemon/*/*.cc plugins/*.[ch] plugins/*/*.[ch] tests/*/*.[ch]))

.PHONY: all
all: $(BUILD)/isod $(BUILD)/isoctl $(PLUGINS:%=$(BUILD)/plugins/%)

# ---- dependencies: each stamp is made once, and again when the list of packages changes ----

.PHONY: deps
deps:
	@.ci/deps all

build/.deps-%: .ci/deps
	@.ci/deps $*
	@mkdir -p $(@D) && touch $@

# ---- rules ----

$(GEN)/%.pb-c.c $(GEN)/%.pb-c.h: proto/%.proto | build/.deps-build
	@mkdir -p $(GEN)
	@protoc-c --c_out=$(GEN) -Iproto $<

$(GEN)/%.o: $(GEN)/%.c $(PROTO_H)
	@echo "  CC    $<"
	@$(CC) $(CFLAGS_ALL) -w -c -o $@ $<

$(BUILD)/%.o: %.c | $(PROTO_H)
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(CFLAGS_ALL) -MD -MP -c -o $@ $<

# What every event goes through: -O3 takes a twentieth off its time.
$(BUILD)/daemon/base/%.o $(BUILD)/daemon/event/%.o $(BUILD)/daemon/sigma/%.o: OPT += $(if $(SANITIZE),,-O3)

$(BUILD)/%.o: %.cc | build/.deps-build
	@mkdir -p $(@D)
	@echo "  CXX   $<"
	@$(CXX) $(CXXFLAGS_ALL) -MD -MP -c -o $@ $<

$(LIB): $(LIB_OBJ)
	@rm -f $@ && ar rcs $@ $^

LINK = @mkdir -p $(@D); echo "  LINK  $@"; $(CXX) $(LDFLAGS_ALL) -o $@ $(filter %.o %.a,$^) $(PKG_LIBS) -lpthread

$(BUILD)/isod: $(ISOD_OBJ) $(LIB)
	$(LINK)

$(BUILD)/isoctl: $(ISOCTL_OBJ) $(LIB)
	$(LINK)

# A plugin is a folder of C files, linked with plugins/plugin.c; libraries that only it needs stand in
# plugins/NAME/libs, by pkg-config name. Its objects stand apart: build/plugins/NAME is the program.
$(BUILD)/obj/%.o: %.c | $(PROTO_H)
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(CFLAGS_ALL) -MD -MP -c -o $@ $<

plugin_objects = $(patsubst %.c,$(BUILD)/obj/%.o,plugins/plugin.c $(wildcard plugins/$(1)/*.c))
.SECONDEXPANSION:
$(PLUGINS:%=$(BUILD)/plugins/%): $(BUILD)/plugins/%: $$(call plugin_objects,$$*) $(LIB)
	$(LINK) $(if $(wildcard plugins/$*/libs),$$(pkg-config --libs $$(cat plugins/$*/libs)))

$(BUILD)/tests/test_%: $(BUILD)/tests/unit/test_%.o $(LIB) | build/.deps-test
	$(LINK) -lcriterion -lm

# Faults of the machine for scenarios (tests/integration/machine.py). Not under sanitizers, which stand there themselves.
$(BUILD)/tests/faults.so: tests/faults/shim.c
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) -std=c17 -D_GNU_SOURCE $(OPT) $(CWARN) -fPIC -shared $(CFLAGS) -o $@ $< -ldl -lpthread

FAULTS := $(if $(SANITIZE),,$(BUILD)/tests/faults.so)

# Clients that share nothing with isod, for scenarios: each a file, linked with the library of its name.
$(BUILD)/clients/%: tests/clients/%.c | build/.deps-test
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) -std=c17 -D_GNU_SOURCE $(OPT) $(CWARN) $(CFLAGS) -o $@ $< $$(pkg-config --cflags --libs $(*:lib%=%))

CLIENTS := $(patsubst tests/clients/%.c,$(BUILD)/clients/%,$(sort $(wildcard tests/clients/*.c)))

$(BUILD)/torture/%: $(BUILD)/tests/torture/%.o $(LIB)
	$(LINK)

$(BUILD)/bench/bench_%: $(BUILD)/tests/bench/bench_%.o $(LIB)
	$(LINK)

$(BUILD)/simulate: $(BUILD)/tests/simulate/simulate.o $(BUILD)/tests/simulate/outside.o $(LIB)
	$(LINK)

# ---- tests ----

.PHONY: test unit
test: build/.deps-test all $(FAULTS) $(CLIENTS) $(BUILD)/simulate $(UNIT:%=$(BUILD)/tests/test_%)
	@BUILD=$(BUILD) tests/run $(UNIT:%=$(BUILD)/tests/test_%) $(sort $(wildcard tests/integration/*_test.py))

unit: $(UNIT:%=$(BUILD)/tests/test_%)
	@BUILD=$(BUILD) tests/run $^

# One module's unit tests: make unit-NAME. One scenario: make scenario-NAME.
unit-%: $(BUILD)/tests/test_%
	@BUILD=$(BUILD) $<

scenario-%: build/.deps-test all $(FAULTS) $(CLIENTS) $(BUILD)/simulate
	@BUILD=$(BUILD) tests/run tests/integration/$*_test.py

# make simulate [SEEDS=N|FIRST-LAST] [STEPS=N]: the officer's core against itself, unbroken and killed again and again.
SEEDS ?= 100
STEPS ?= 10000
.PHONY: simulate
simulate: $(BUILD)/simulate
	@$< --seeds $(SEEDS) --steps $(STEPS)

# make torture [EVENTS=1000000] [KILLS=100] [REDIS_KILLS=20] [TORTURE="--only relp --seed 7 …"]: numbered events from
# rsyslog and others while isod and Redis are killed again and again (tests/torture/torture.py).
.PHONY: torture
torture: build/.deps-test all $(FAULTS) $(CLIENTS) $(BUILD)/torture/relay $(BUILD)/torture/count
	@BUILD=$(BUILD) tests/torture/torture.py $(if $(EVENTS),--events $(EVENTS)) $(if $(KILLS),--kills $(KILLS)) \
		$(if $(REDIS_KILLS),--redis-kills $(REDIS_KILLS)) $(TORTURE)

# make testssl: what testssl.sh (a package that is not installed for it) finds at the TLS listener.
.PHONY: testssl
testssl: all
	@BUILD=$(BUILD) tests/testssl/testssl.py

# make fuzz [FUZZ_SECONDS=60]: every parser's fuzzer for so long each, with ASan and UBSan; make fuzz-NAME: one, for as
# long as it is let. FUZZ_RUNS=10000000: so many executions instead. FUZZ_SANITIZE=undefined: without ASan, several times
# as fast. tests/fuzz/corpus/NAME and tests/fuzz/NAME.dict are what it begins with; what it learns and finds stays in
# build/fuzz/. Comparisons are not traced and all inputs are mutated alike (-entropic=0): both cost more than half of the
# time, and the dictionaries know what comparisons would tell.
FUZZ_SECONDS  ?= 60
FUZZ_RUNS     ?=
FUZZ_SANITIZE ?= address,undefined
FUZZ_BUILD    := build/fuzz/$(subst $(comma),-,$(FUZZ_SANITIZE))
FUZZ_FLAGS    := CC=clang CXX=clang++ SANITIZE=$(FUZZ_SANITIZE),fuzzer-no-link BUILD=$(FUZZ_BUILD) \
	'OPT=-O2 -g -fno-sanitize-coverage=trace-cmp,indirect-calls,stack-depth'
# One value or two say as much of a modifier as many do, in a fraction of the time, and so do short files of a loader.
FUZZ_OPTIONS_modifier := -max_len=256
FUZZ_OPTIONS_rules    := -max_len=1500
fuzz_run       = mkdir -p build/fuzz/corpus/$(1) && UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	$(FUZZ_BUILD)/fuzz_$(1) -artifact_prefix=build/fuzz/$(1)- -entropic=0 -print_final_stats=1 \
	$(patsubst %,-dict=%,$(wildcard tests/fuzz/$(1).dict)) $(FUZZ_OPTIONS_$(1)) $(if $(FUZZ_RUNS),-runs=$(FUZZ_RUNS),$(2)) \
	build/fuzz/corpus/$(1) $(wildcard tests/fuzz/corpus/$(1))

.PHONY: fuzz fuzz-build
fuzz: fuzz-build
	@set -e; $(foreach f,$(FUZZ),echo "== $f"; \
	$(call fuzz_run,$f,-max_total_time=$(FUZZ_SECONDS)) 2>&1 | tail -8; test $${PIPESTATUS[0]} = 0;)

fuzz-build: build/.deps-lint
	@$(MAKE) --no-print-directory $(FUZZ_FLAGS) $(FUZZ:%=$(FUZZ_BUILD)/fuzz_%)

fuzz-%: build/.deps-lint
	@$(MAKE) --no-print-directory $(FUZZ_FLAGS) $(FUZZ_BUILD)/fuzz_$*
	@$(call fuzz_run,$*)

$(BUILD)/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(LIB)
	@echo "  LINK  $@"
	@$(CXX) -fsanitize=$(subst fuzzer-no-link,fuzzer,$(SANITIZE)) -o $@ $^ $(PKG_LIBS) -lpthread

# ---- benchmarks: make bench-NAME ----

bench-%: $(BUILD)/bench/bench_%
	@$<

# make bench-detect [EVENTS=file.ndjson[.gz]] [RULES="folder …"]: how fast rules are matched, beside simdjson alone and,
# where it is installed, rsigma. Without EVENTS and RULES those of the corpus in $ISOD_SHARED (../shared).
.PHONY: bench-detect
bench-detect: $(BUILD)/bench/bench_detect
	@EVENTS="$(EVENTS)" RULES="$(RULES)" BUILD=$(BUILD) tests/bench/detect.py

# make bench-ingest [ROUNDS= CONNECTIONS="1 8" SHORT= LONG=, and FRAMES= BYTES= WINDOW=]: messages per second of wall clock
# and of processor time beside rsyslog's; what durability costs, and RELP beside rsyslog's imrelp.
.PHONY: bench-ingest
bench-ingest: build/.deps-test all $(BUILD)/bench/load_relp $(BUILD)/bench/load_stream
	@BUILD=$(BUILD) tests/bench/ingest.py

# make bench-latency [PROBES= SECONDS=]: from a frame to the plugin, at 10, 50 and 90 % of what isod can take.
.PHONY: bench-latency
bench-latency: all $(BUILD)/bench/load_stream
	@BUILD=$(BUILD) tests/bench/latency.py

# make bench-idle [IDLE= ROUNDS=]: what many idle connections cost in memory, and those who send.
.PHONY: bench-idle
bench-idle: all $(BUILD)/bench/load_stream $(BUILD)/bench/load_idle
	@BUILD=$(BUILD) tests/bench/idle.py

$(BUILD)/bench/load_%: $(BUILD)/tests/bench/load_%.o $(LIB)
	$(LINK)

$(BUILD)/bench/bench_detect: $(BUILD)/tests/bench/parse_only.o
$(BUILD)/bench/load_stream $(BUILD)/bench/bench_pipeline: $(BUILD)/tests/bench/traffic.o

# ---- lint ----

.PHONY: lint lint-tidy
lint: build/.deps-lint $(PROTO_H)
	@echo "  LINT  include directions" && .ci/includes
	@echo "  LINT  formatting" && clang-format --dry-run -Werror $(STYLED)
	@echo "  LINT  cppcheck" && cppcheck -q --std=c11 --enable=warning,performance,portability --inline-suppr \
		--suppress=missingIncludeSystem --suppress=unknownMacro --error-exitcode=1 -j$$(nproc) -D_GNU_SOURCE \
		-Idaemon -Iplugins $(TIDY)
	@$(MAKE) --no-print-directory lint-tidy

lint-tidy: $(TIDY:%=$(BUILD)/lint/%.tidy)

$(BUILD)/lint/%.tidy: % .clang-tidy $$(wildcard $$(dir $$*)*.h) | $(PROTO_H)
	@mkdir -p $(@D)
	@echo "  TIDY  $*"
	@clang-tidy --quiet $* -- $(filter-out -fstack-clash-protection,$(CFLAGS_ALL)) 2>/dev/null
	@touch $@

# ---- running ----

.PHONY: run demo
run: all
	@BUILD=$(BUILD) conf/development run

demo: all
	@BUILD=$(BUILD) tests/demo/demo.py

# ---- installing ----

.PHONY: install
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/isod/plugins $(DESTDIR)/etc/isod \
		$(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/lib/sysusers.d $(DESTDIR)$(PREFIX)/lib/tmpfiles.d \
		$(DESTDIR)$(PREFIX)/share/isod/proto
	install -m755 $(BUILD)/isod $(BUILD)/isoctl $(DESTDIR)$(PREFIX)/bin
	install -m755 $(PLUGINS:%=$(BUILD)/plugins/%) $(DESTDIR)$(PREFIX)/lib/isod/plugins
	cp -R conf/*.yaml conf/rules $(DESTDIR)/etc/isod
	install -m644 proto/*.proto $(DESTDIR)$(PREFIX)/share/isod/proto
	install -m644 systemd/isod.service systemd/isod.socket $(DESTDIR)$(PREFIX)/lib/systemd/system
	install -m644 systemd/isod.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/isod.conf
	install -m644 systemd/isod.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/isod.conf

# ---- the rest ----

.PHONY: help clean
help:
	@echo "make            build/isod, build/isoctl, build/plugins/*"
	@echo "make demo       the main job, from a log line to an alert, on an embedded Redis"
	@echo "make test       all tests; SANITIZE=address,undefined or SANITIZE=thread"
	@echo "make run        a development daemon in the foreground, state and certificates under run/"
	@echo "make unit       unit tests; make unit-NAME, make scenario-NAME: one"
	@echo "make fuzz       every fuzzer for FUZZ_SECONDS; make fuzz-NAME: one; FUZZ_RUNS=N: so many executions"
	@echo "make simulate   the officer's core, unbroken and killed again and again; SEEDS=N|FIRST-LAST STEPS=N"
	@echo "make torture    kills under load: nothing acknowledged is lost; EVENTS= KILLS= REDIS_KILLS="
	@echo "make bench-correlate  speed and memory of correlation"
	@echo "make bench-replay  how fast the state comes back from ledger and snapshot; RECORDS="
	@echo "make bench-decode  what an event costs, by kind of line"
	@echo "make bench-detect  how fast rules are matched; EVENTS=FILE RULES=FOLDER"
	@echo "make bench-pipeline  where a message's time goes between socket and officer"
	@echo "make bench-ingest  messages per second, and what durability costs, beside rsyslog"
	@echo "make bench-latency from a frame to the plugin that wakes somebody, at 10, 50 and 90 % load"
	@echo "make bench-idle   what ten thousand idle connections cost"
	@echo "make testssl    testssl.sh against the TLS listener, where it is installed"
	@echo "make lint       formatting, include directions, cppcheck, clang-tidy"
	@echo "make deps       install every Debian package that anything here needs"
	@echo "make install    DESTDIR=, PREFIX=/usr"
	@echo "make clean"

clean:
	rm -rf build

-include $(shell find $(BUILD)/daemon $(BUILD)/obj $(BUILD)/tests -name '*.d' 2>/dev/null)
.SECONDARY:
