/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificate and key that the API shows. They are read again on SIGHUP: what is renewed is taken by the next connection, what can not be
 * read leaves the earlier ones in force.
 */
#pragma once

#include <microhttpd.h>

#include "core/err.h"

/* TLS 1.2 and 1.3, with ciphers that are not broken. */
#define TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

/*
 * Reads both files (PEM; the certificate first, then those that vouch for it) and makes them what new connections get. INVALID
 * "invalid_option", naming the file: it can not be read, holds no certificate or key, the two do not belong together, or anybody on this
 * machine may read the key. On failure what was loaded before stays.
 */
int DW_MUST_USE tls_load(const char *cert_path, const char *key_path, struct dw_err *err);
/* Forgets them. No connection may be left. */
void tls_done(void);
/* Two options of libmicrohttpd and its end. */
void tls_options(struct MHD_OptionItem item[static 3]);
