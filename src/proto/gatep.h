/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What daemon and gate say to each other: JSON objects, one per SOCK_SEQPACKET datagram of at most DW_GATEP_MAX bytes.
 *
 * Daemon to gate, each answered once, in order, with {"seq":N,"ok":true,...} or {"seq":N,"ok":false,"code":"...","message":"..."}:
 *   {"seq":N,"op":"attach","sandbox":ID,"addr4":"...","addr6":"...","generation":G,"limits":{...}?}  + one descriptor: the policy image in a
 *        sealed memfd (F_SEAL_SHRINK|GROW|WRITE|SEAL). Answer when it is in force. Errors: "exists", "bad_policy", "internal"
 *        "limits": "flows","half_open","flows_per_second","dns_per_second","names_per_minute","bytes", each optional, integers
 *        as in policy/limits.h (0 or absent: the default). Unknown members are an error.
 *   {"seq":N,"op":"update","sandbox":ID,"generation":G,"limits":{...}?}  + one descriptor. Errors: "not_found", "bad_policy"
 *   {"seq":N,"op":"detach","sandbox":ID}        ok also when it is not attached ("found":false)
 *   {"seq":N,"op":"query","sandbox":ID}         "generation","flows" (TCP and UDP),"udp_flows","pins","half_open","queries",
 *        "bytes_out","bytes_in" (of all flows since attach),"limits":{... as in force}
 *   {"seq":N,"op":"status"}                     "sandboxes","flows","version","host":["addr",...]
 *   {"seq":N,"op":"resolver"}                   reserved for later; unknown ops give "unknown_op"
 * Gate to daemon, unasked:
 *   {"event":"ready","version":"...","pid":N}   once, when it serves
 *   {"event":"decision","sandbox":ID|null,"source":"..."?,"time":UNIX_SECONDS.FRACTION,"proto":"tcp"|"udp"|"icmp"|"dns"|"other",
 *    "addr":"..."?, "port":N?, "qtype":"A"?, "name":"..."?, "verdict":"allow"|"deny","reason":WORD,"rule":"allow_out[0] x"?,
 *    "pinned":true? (the policy only observes, and the sandbox was given addr for name),
 *    "would":WORD? (the policy only observes: the reason of the refusal that did not happen; the verdict is "allow"),
 *    "flow":N? (an allowed flow: the same number in its decision and in its end, unique while this gate runs),
 *    "message":"sentence for people", "count":N, "closed":bool,"bytes_out":N,"bytes_in":N,"duration_ms":N}
 *     An allowed flow is two events with one "flow": its decision, and its end ("closed":true) with bytes and duration. When one
 *     sandbox has more than a few allowed flows in a second, further ones alike in (proto, addr, port, name, reason) are counted
 *     in one event without "flow", like refusals.
 *     Refusals alike in (sandbox, proto, addr, port, name, reason) within one second are one event with their count.
 *     Events are dropped, and counted in the next one's "dropped", when the daemon does not read.
 */
#pragma once

#define DW_GATEP_MAX 65536
/* Policy images larger than this are refused (100,000 entries of ordinary length fit). */
#define DW_GATEP_IMAGE_MAX (64u << 20)
