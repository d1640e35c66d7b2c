/* SPDX-License-Identifier: Apache-2.0 */
/* Every number that bounds what a client or a sandbox can make the daemon do, with its reason. */
#pragma once

/* What a sandbox gets when the request can not say otherwise (clients may not choose: `resources` is refused). */
#define DAEMON_SANDBOX_MEMORY_MB 1024u /* for processes, beside a full disk: the disk is in memory too */
#define DAEMON_SANDBOX_PIDS      512u
#define DAEMON_SANDBOX_VCPUS     2u
#define DAEMON_SANDBOX_DISK_MB   1024u
#define DAEMON_SANDBOX_MAX       1000u /* alive at one time; each holds some 10 descriptors here and in the keeper */
#define DAEMON_POOL              4u

/* For everything in a sandbox to halt: it takes a millisecond, or seconds on a machine that is overloaded. */
#define DAEMON_FREEZE_MS         15000
#define DAEMON_TIMEOUT_DEFAULT_S 300u
#define DAEMON_TIMEOUT_MAX_S     86400u /* a day: a forgotten sandbox must end */

/* HTTP. */
#define DAEMON_CONNECTIONS       1280u /* a thread each: 1,024 for clients, the rest for those without a key yet */
#define DAEMON_STRANGERS         256u  /* connections without a key: when there are more, their time is short */
#define DAEMON_STRANGER_MS       10000 /* from the connection's start to its first whole head with a key */
#define DAEMON_STRANGER_CROWD_MS 1000  /* the same in a crowd: many times what an honest client's head takes */
#define DAEMON_HTTP_LOG_LINES    10u   /* a second, of what libmicrohttpd has to say */
#define DAEMON_KEEPALIVE_S       75u   /* clients keep idle connections for up to 60 s */
#define DAEMON_JSON_MAX          (10u << 20)  /* the documented limit */
#define DAEMON_RAW_MAX           (500u << 20) /* the documented limit of /files/raw */
#define DAEMON_DRAIN_MAX         (32u << 20) /* of a refused body, read so that the client sees the answer, not a reset */
#define DAEMON_DRAIN_ANON_MAX    (1u << 20)  /* the same without a valid key */
#define DAEMON_HEADER_POOL       (64u << 10) /* per connection: request head and I/O buffer */
#define DAEMON_THREAD_STACK      (1u << 20)
#define DAEMON_JSON_DEPTH        32u
#define DAEMON_MALLOC_MAPPED     (2 << 20) /* pieces above have a mapping of their own; a policy's image is half of it */
#define DAEMON_MALLOC_KEPT       (4 << 20) /* free memory kept for the next request, as much as a large policy takes */
#define DAEMON_KEY_MAX           512u      /* an API key, an Idempotency-Key */
#define DAEMON_STOP_GRACE_MS     5000      /* requests under way at a stop */

#define DAEMON_TLS_CHAIN    8u           /* certificates in one file */
#define DAEMON_TLS_FILE_MAX (256u << 10) /* of a certificate or key file */

/* Request fields. */
#define DAEMON_NAME_MAX      128u
#define DAEMON_OWNER_MAX     64u /* of a key, and so of a sandbox */
#define DAEMON_MAP_KEYS      256u
#define DAEMON_MAP_KEY_MAX   256u
#define DAEMON_MAP_BYTES     (64u << 10)
#define DAEMON_SECURITY_MAX  (256u << 10) /* stored and echoed as it is */
#define DAEMON_CMD_MAX       (128u << 10) /* the kernel's own limit of one argument, MAX_ARG_STRLEN */
#define DAEMON_PATH_MAX      4096u
#define DAEMON_USER_MAX      64u
#define DAEMON_KILL_MANY_MAX 1000u

/* Operations in sandboxes. */
#define DAEMON_OUTPUT_MAX       (8u << 20)   /* kept per stream of a foreground command */
#define DAEMON_OUTPUT_TOTAL_MAX (256u << 20) /* kept at one time, all commands together */
#define DAEMON_OUTPUT_SANDBOX_MAX \
	(64u << 20) /* of these for one sandbox, so that no flood of one takes what others need */
#define DAEMON_OUTPUT_OWN \
	(64u << 10) /* of each stream, beside these: a short output is kept however busy the server is */
#define DAEMON_COMMAND_GRACE_MS  10000u /* beyond a command's own time-out, for the agent to report it */
#define DAEMON_COMMAND_SILENT_MS 240000 /* then the answer's head goes out: some clients wait 300 s for it */
#define DAEMON_COMMAND_SPACE_MS  30000  /* and a space as often as this */
#define DAEMON_OPS_PER_SANDBOX   64u    /* with the ports and processes below fewer than the agent's 384 */
#define DAEMON_OP_STALL_MS       60000u /* a file operation in which nothing moved for so long is given up */
#define DAEMON_BATCH_FILES       5000u  /* of one request: each is an operation, some milliseconds */
#define DAEMON_AGENT_SEND_MS     5000u

/* Connections to ports inside. */
#define DAEMON_PORTS_SANDBOX   128u   /* open at one time; with the above fewer than the agent's 384 */
#define DAEMON_PORTS           512u   /* of all sandboxes: half of the connections that there are for clients */
#define DAEMON_PORT_RESERVED   49983u /* of the published contract: of its agent, which is no server here */
#define DAEMON_PORT_CONNECT_MS 15000  /* the agent itself gives up after 10 s */
#define DAEMON_PORT_ANSWER_MS \
	600000 /* from the request's end to the whole head of the answer: long polls, models that think */
#define DAEMON_PORT_STALL_MS \
	60000 /* a request's body that the server inside does not take, an answer that the client does not */
#define DAEMON_PORT_REFUSED_MS 5000         /* the same where the answer has begun */
#define DAEMON_PORT_IDLE_MS    3600000      /* an answer, or a WebSocket, in which nobody says anything */
#define DAEMON_PORT_LINGER_MS  10000        /* a WebSocket that the client has ended, for the server's last words */
#define DAEMON_PORT_EARLY      (256u << 10) /* of an answer that begins while the request is still being sent */
#define DAEMON_PORT_INTERIM    16u          /* answers of class 1xx to one request */

/* Processes that outlive their request. */
#define DAEMON_PROCS_RUNNING 128u /* of one sandbox */
#define DAEMON_PROCS_SANDBOX \
	256u /* with those that have ended and wait to be asked for; the oldest of these give way */
#define DAEMON_PROCS                4096u /* the same of all sandboxes: a socket and some 40 KiB each at the least */
#define DAEMON_PROC_OWN             (8u << 10) /* of its output, twice, and of its text: kept however busy the server is */
#define DAEMON_PROC_LIST            (512u << 10) /* of their commands, and of their environments, in one list of them */
#define DAEMON_PROC_TAIL            (256u << 10) /* of its latest output, for those who follow it */
#define DAEMON_PROC_STDIO           (8u << 20)   /* the same of one that is talked to, for a client that comes back */
#define DAEMON_PROC_PACED           (64u << 10)  /* the same of one that waits for its readers */
#define DAEMON_PROC_STALL_MS        60000        /* a reader that takes nothing for so long is waited for no more */
#define DAEMON_PROC_LAG_MS          1000 /* the same of one that others wait for, too: it has not taken 16 KiB in this time */
#define DAEMON_PROC_KEEP_MS         60000       /* a result that somebody was told stays, for clients that try again */
#define DAEMON_PROC_UNASKED_MS      3600000     /* and one that nobody asks for */
#define DAEMON_PROC_QUEUE           (16u << 10) /* input on its way to one process; the sockets hold more */
#define DAEMON_PROC_STDIN_MS        10000       /* in which the program inside took nothing, then the request fails */
#define DAEMON_PROC_KILL_MS         2000        /* a kill is waited for; it comes about all the same */
#define DAEMON_PROC_WAITERS         512u        /* requests that wait for a process; a connection and a thread each */
#define DAEMON_PROC_WAITERS_SANDBOX 128u
#define DAEMON_STREAM_PIECE         (16u << 10) /* of output in one event; clients read lines of up to 1 MiB */
#define DAEMON_STREAM_FLUSH_MS      50          /* the beginning of a line waits as long for its end */
#define DAEMON_STREAM_LATE          1024u       /* frames read after a command's time, for a client that read slowly */
#define DAEMON_STREAM_LATE_MS       1000        /* and the wait for each */
#define DAEMON_STREAM_ALIVE_MS      15000       /* a comment as often as this; some clients wait 60 s for a byte */

/* Templates, and the builds that make them. */
#define DAEMON_TEMPLATES           1000u /* of one owner */
#define DAEMON_DOCKERFILE_MAX      (64u << 10)
#define DAEMON_RUN_CMDS            256u
#define DAEMON_APT_PACKAGES        512u
#define DAEMON_START_CMD_MAX       4096u
#define DAEMON_READY_MS            60000 /* in which a template's ready_check must succeed */
#define DAEMON_READY_EVERY_MS      200
#define DAEMON_TEMPLATE_MEMORY_MIN 128u
#define DAEMON_TEMPLATE_DISK_MIN   128u
#define DAEMON_TEMPLATE_DISK_MAX   102400u
#define DAEMON_TEMPLATE_MB_MIN     256u     /* for both together, and so the least that the operator can say */
#define DAEMON_TEMPLATE_MB_MAX     1048576u /* and the most */
#define DAEMON_TEMPLATE_ENTRIES    2000000u /* files of one */
#define DAEMON_BUILDS              3u /* at one time, when --builds does not say; all but one may be one owner's */
#define DAEMON_BUILD_TIMEOUT_S     1800u
#define DAEMON_BUILD_MEMORY_MB     2048u
#define DAEMON_BUILD_DISK_MB       8192u
#define DAEMON_BUILD_PIDS          4096u
#define DAEMON_BUILD_BASES         8u           /* templates that one build starts from: a Dockerfile's stages */
#define DAEMON_BUILD_LOG           (256u << 10) /* of the latest lines, while it runs */
#define DAEMON_BUILD_LOG_KEPT      (64u << 10)  /* and afterwards */
#define DAEMON_BUILD_LINE          4096u        /* longer ones are cut in pieces */
#define DAEMON_BUILD_ROWS          200u         /* builds of one owner that can be read afterwards */
#define DAEMON_BUILD_ROWS_ALL      2000u        /* and of all owners */
#define DAEMON_IMAGE_CONFIG_MAX    (1u << 20)   /* of an image's configuration, which an archive may have made */

/* Idempotency keys. */
#define DAEMON_IDEM_MAX    10000u
#define DAEMON_IDEM_BYTES  (64u << 20)
#define DAEMON_IDEM_AGE_MS (24ull * 3600 * 1000)

/* The store. */
#define DAEMON_KILLED_ROWS       100000u /* killed sandboxes that stay readable */
#define DAEMON_WAL_PAGES         1000    /* of 4 KiB, not yet in their place, that are worth the disk's time */
#define DAEMON_WAL_PAGES_MAX     4000    /* then a request waits for it */
#define DAEMON_LOG_ROWS_SANDBOX  10000u
#define DAEMON_LOG_ROWS          200000u
#define DAEMON_LOG_QUEUE_BYTES   (16u << 20) /* events that wait for the writer; newer ones are dropped and counted */
#define DAEMON_LOG_BATCH         1000u
#define DAEMON_LOG_LIMIT_DEFAULT 100u
#define DAEMON_LOG_LIMIT_MAX     1000u
#define DAEMON_OBSERVED_SANDBOX  5000u   /* kinds of traffic that are kept of a sandbox which only observes */
#define DAEMON_OBSERVED_ROWS     500000u /* in all; then those of the sandbox seen first go: a hundred full ones fit */
#define DAEMON_FOLLOWERS         64u     /* who read a log as it grows; a connection and a thread each */
#define DAEMON_FOLLOWERS_SANDBOX 8u
#define DAEMON_FOLLOW_BYTES      (256u << 10) /* that wait for one slow reader; newer rows are dropped and counted */
#define DAEMON_FOLLOW_SNDBUF     (32 << 10)   /* of its socket; the kernel doubles it */
#define DAEMON_FOLLOW_PAGE       100u         /* rows of the past read at a time */
#define DAEMON_FOLLOW_ALIVE_MS   15000        /* a comment as often as this, so that a dead connection is noticed */
#define DAEMON_LIST_DEFAULT      100u
#define DAEMON_LIST_MAX          1000u

/* What sandboxes use: an hour of each, 17 KiB. */
#define DAEMON_METRICS_MS      5000
#define DAEMON_METRICS_SAMPLES 720u

/* The gate. */
#define DAEMON_GATE_READY_MS 10000u
#define DAEMON_GATE_CALL_MS  5000u
#define DAEMON_GATE_WAIT_MS  3000u /* for a gate that is just being started again */

/* Snapshots: files as large as the sandbox's disk, with names and attributes beside the contents. */
#define DAEMON_SNAPSHOT_MB        (2u * DAEMON_SANDBOX_DISK_MB)
#define DAEMON_SNAPSHOTS          100u    /* an owner's, unless the server's options say otherwise */
#define DAEMON_SNAPSHOTS_MAX      100000u /* and at most */
#define DAEMON_SNAPSHOT_SPACE     10240u  /* MiB for all of them, likewise */
#define DAEMON_SNAPSHOT_SPACE_MAX (1u << 30)

/* Of the disk of volumes and templates, left for the records of the server. */
#define DAEMON_DISK_SPARE  (256ull << 20)
#define DAEMON_FILES_SPARE 16384u

/* Archives from outside. */
#define DAEMON_UNPACKS         16u /* at one time: a process each, of at most 256 MiB */
#define DAEMON_UNPACK_REPORT   4096u
#define DAEMON_UNPACK_STALL_MS 60000 /* in which it takes nothing */
#define DAEMON_UNPACK_LOOK_MS  50    /* between two looks at the disk it fills */
#define DAEMON_UNPACK_FINISH_MS \
	900000 /* from the end of the archive to its last entry: its contents may be far larger than it is */

/* Volumes. */
#define DAEMON_VOLUME_MB      4096u    /* of one, unless the operator says otherwise */
#define DAEMON_VOLUME_MB_MAX  1048576u /* which is what he can say */
#define DAEMON_VOLUME_ENTRIES 200000u  /* files and directories of one */
#define DAEMON_VOLUMES_OWNER  1000u
#define DAEMON_VOLUME_TURN_MS 120000 /* for a turn to unpack */
#define DAEMON_VOLUME_TAKE_MS 900000 /* to read one out of a sandbox */
