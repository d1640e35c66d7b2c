/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the file operations share. All of it runs in the operation's child, with the account's identity taken on; f tells
 * what went wrong (-1), and nothing is sent then.
 */
#pragma once

#include "agent/account.h"
#include "proto/agentp_file.h"

/* The child's one buffer for frames in both directions. */
extern uint8_t dw_file_chunk[DW_AGENTP_HEADER + DW_AGENTP_CHUNK];

/* Both wait as long as it takes, and end the process when the daemon has gone. */
void dw_file_send_all(const uint8_t *p, size_t n);
/* Sends dw_file_chunk with the header filled in. */
void dw_file_send(enum dw_agentp_type type, size_t payload_n);
/* Makes the directories above path. */
int dw_file_make_parents(const char *path, struct dw_fault *f);

/* file_dir.c. Paths are absolute and normalised. */
int dw_file_list(const char *path, uint32_t depth, struct dw_fault *f);
int dw_file_info(const char *path, struct dw_fault *f);
int dw_file_rename(const char *path, const char *to, struct dw_fault *f);
int dw_file_mkdir(const char *path, struct dw_fault *f);
/* file_remove.c */
int dw_file_remove(const char *path, struct dw_fault *f);
/* watch.c: returns only when it could not begin. */
int dw_file_watch(const char *path, bool recursive, struct dw_fault *f);
