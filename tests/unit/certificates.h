/* Certificates for tests of TLS, made with openssl(1) as DIR/NAME.pem and DIR/NAME.key. */
#ifndef ISOD_TESTS_CERTIFICATES_H
#define ISOD_TESTS_CERTIFICATES_H

#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/mem.h"

/* Two authorities, "ca" and "other"; by ca: "server" (of localhost and 127.0.0.1) and each of `clients` (names with
 * blanks between them); by other: "stranger". The common names are the same names. */
static inline void certificates_make(const char *dir, const char *clients)
{
	char *command = xasprintf(
		"exec >/dev/null 2>&1; set -e; cd '%s'; "
		"make() { name=$1; shift; openssl req -x509 -newkey ec "
		"-pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=$name "
		"-keyout $name.key -out $name.pem \"$@\"; }; "
		"sign() { by=$1; whose=$2; shift 2; make $whose -CA $by.pem -CAkey $by.key "
		"-addext basicConstraints=critical,CA:FALSE \"$@\"; }; "
		"make ca; make other; "
		"sign ca server -addext subjectAltName=DNS:localhost,IP:127.0.0.1; "
		"for c in %s; do sign ca $c; done; sign other stranger",
		dir, clients);

	cr_assert_eq(system(command), 0);
	free(command);
}

#endif
