/* SPDX-License-Identifier: Apache-2.0 */
/* A small DNS server on loopback, which the gate's own loop serves. */
#pragma once

#include "gate_test.h"

struct server {
	struct dw_watch udp, tcp;
	int udp_fd, tcp_fd;
	uint16_t port;
	unsigned int queries, tcp_queries, strangers;
	bool silent;
};

extern struct server server;

void server_start(struct gate *g);
