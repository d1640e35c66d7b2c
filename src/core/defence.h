/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Switches that take one defence away, so that a test can show that its case fails without it. They exist in builds with test
 * hooks alone: in any other dw_defended() is the constant true, and nothing of this is left.
 */
#pragma once

#include <stdbool.h>

enum dw_defence {
	DW_DEFENCE_FLOW_POLICY = 0, /* what no entry allows does not start */
	DW_DEFENCE_FLOOR,           /* what no policy can open */
	DW_DEFENCE_PRIVATE,         /* private ranges need an address entry */
	DW_DEFENCE_DNS_POLICY,      /* only allowed names are asked for */
	DW_DEFENCE_DNS_TYPES,       /* ... and only types that hold addresses */
	DW_DEFENCE_DNS_NAMES,       /* the budget of names under wildcards */
	DW_DEFENCE_ANSWER_FILTER,   /* private answers are withheld */
	DW_DEFENCE_HTTPS_RECORDS,   /* hints and ECH keys are taken out of HTTPS records */
	DW_DEFENCE_SNI,             /* a hello's name is judged */
	DW_DEFENCE_SNI_REQUIRED,    /* ... and has to be there */
	DW_DEFENCE_NAME_PIN,        /* a name counts for its own addresses */
	DW_DEFENCE_TLS_STRICT,      /* a hello that can be read in two ways is refused */
	DW_DEFENCE_TLS_REQUIRED,    /* port 443 of a name speaks TLS */
	DW_DEFENCE_ECH,             /* no encrypted names */
	DW_DEFENCE_STARTTLS,        /* TLS that begins later is judged too */
	DW_DEFENCE_HTTP_REQUIRED,   /* port 80 of a name speaks HTTP */
	DW_DEFENCE_HTTP_HOST,       /* a request's host is judged */
	DW_DEFENCE_HTTP_EVERY,      /* ... of every request */
	DW_DEFENCE_HTTP_STRICT,     /* a head that can be read in two ways is refused */
	DW_DEFENCE_HOST_REQUIRED,   /* a request names its host */
	DW_DEFENCE_HTTP_CONNECT,    /* no CONNECT */
	DW_DEFENCE_HTTP_UPGRADE,    /* no upgrade that cannot be followed */
	DW_DEFENCE_PROXY_HEADER,    /* no PROXY protocol header */
	DW_DEFENCE_QUIC_REQUIRED,   /* UDP port 443 of a name speaks QUIC */
	DW_DEFENCE_QUIC_EACH,       /* every connection of a QUIC flow is judged */
	DW_DEFENCE_ANTISPOOF,       /* a source address belongs to its link */
	DW_DEFENCE__COUNT,
};

#ifdef DECLAW_TEST_HOOKS
/*
 * False for what DECLAW_TEST_OFF names, as words of dw_defence_name() with commas between; read at the first call. A word that is
 * none ends the program: a test that switched nothing off would show nothing.
 */
bool dw_defended(enum dw_defence d);
const char *dw_defence_name(enum dw_defence d);
#else
static inline bool dw_defended(enum dw_defence d)
{
	(void)d;
	return true;
}
#endif
