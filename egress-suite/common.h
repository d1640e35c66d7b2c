/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two programs of the egress suite share.
 *
 * egress-probe runs inside a sandbox and tries ways out; egress-far is the internet that it must not reach, and says what it
 * saw. Neither trusts the other: they are joined afterwards, by nonces. A nonce is 16 characters that stand in every
 * name, path, payload and connection id of one arm of one case:
 *
 *     eg<8 hex: the run>x<3 digits: the case><4 or 6: the family><d or c: the denied arm or its control>
 *
 * Both programs depend on libc alone, so that they can be linked statically and copied into anything.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define EG_COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define EG_NONCE    16
#define EG_TOKEN    "EGFAR:" /* the far side puts it before the nonce that it answers to */
#define EG_HOSTS    32
/* A case that may choose its port takes this one plus its number, so that packets without a nonce are its own. */
#define EG_PORT_BASE  20000u
#define EG_PORT_COUNT 210u

struct eg_addr {
	uint8_t family; /* 4, 6; 0: not configured */
	uint8_t b[16];
};

bool eg_addr_parse(const char *text, struct eg_addr *ret);
const char *eg_addr_text(const struct eg_addr *a, char *buf); /* INET6_ADDRSTRLEN */
bool eg_addr_equal(const struct eg_addr *a, const struct eg_addr *b);
socklen_t eg_addr_sock(const struct eg_addr *a, uint16_t port, struct sockaddr_storage *ret);
struct eg_addr eg_addr_of(const struct sockaddr_storage *s, uint16_t *ret_port); /* mapped addresses become IPv4 */

/* Who is where; the index of an address is its family's. */
enum eg_place {
	EG_A1 = 0, /* of the names that the policy allows, and of others (a shared address) */
	EG_A2,     /* named by no rule */
	EG_A3,     /* allowed by its address */
	EG_A4,     /* of a name that is allowed on TCP port 443 alone */
	EG_PRIVATE,
	EG_METADATA,
	EG_MANY,     /* the first of 300 addresses in a row, all the far side's */
	EG_RESOLVER, /* whom the sandbox is told to ask */
	EG_PLACES,
};
extern const char *const eg_place_names[EG_PLACES]; /* the keys: "a1", ... ; with "_6" for IPv6 */

struct eg_config {
	struct eg_addr at[EG_PLACES][2];
	char allowed[64], narrow[64], wild[64], evil[64], cotenant[64]; /* names */
	char run[9];
	struct eg_addr host[EG_HOSTS]; /* addresses of the sandbox's host and its gateway */
	size_t host_n;
	struct eg_addr peer[2]; /* another sandbox, with a listener on peer_port */
	uint16_t peer_port;
	char device[16]; /* far: where packets arrive */
};

void eg_config_init(struct eg_config *c);
/* One "key value" pair. False: no such key, or not a value of it. */
bool eg_config_set(struct eg_config *c, const char *key, const char *value);
/* Lines "key value"; '#' starts a comment. -1 with a message on standard error. */
int eg_config_read(struct eg_config *c, const char *path);

/* The first nonce in the bytes, letters of any case: written in lower case with a NUL. */
bool eg_nonce_find(const void *p, size_t n, size_t from, char ret[EG_NONCE + 1], size_t *ret_at);

/* Bytes that grow; out of memory ends the program. */
struct eg_buf {
	uint8_t *p;
	size_t n, cap;
};
void eg_put(struct eg_buf *b, const void *p, size_t n);
void eg_put_zero(struct eg_buf *b, size_t n);
void eg_text(struct eg_buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void eg_u8(struct eg_buf *b, unsigned v);
void eg_u16(struct eg_buf *b, unsigned v);
void eg_u24(struct eg_buf *b, unsigned v);
void eg_u32(struct eg_buf *b, uint32_t v);
void eg_patch16(struct eg_buf *b, size_t at); /* the number of bytes behind at + 2, into at */
void eg_free(struct eg_buf *b);

uint64_t eg_now_ms(void); /* monotonic */
double eg_wall(void);
/* A JSON string, quotes included; bytes above 0x7e become \u00xx. */
void eg_json(struct eg_buf *b, const void *p, size_t n);
