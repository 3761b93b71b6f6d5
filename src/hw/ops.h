/* SPDX-License-Identifier: MIT */
/* The memory callbacks (ops.c), for the table in sysops.c. */
#ifndef ANYKVM_HW_OPS_H
#define ANYKVM_HW_OPS_H

#include "hw/core.h"

int hw_op_read(struct x86_emulate_ctxt *c, uint64_t la, void *val,
	       unsigned bytes, unsigned acc);
int hw_op_write(struct x86_emulate_ctxt *c, uint64_t la, const void *val,
		unsigned bytes, unsigned acc);
int hw_op_cmpxchg(struct x86_emulate_ctxt *c, uint64_t la, void *old,
		  const void *val, unsigned bytes, bool *done);
void *hw_op_host_ptr(struct x86_emulate_ctxt *c, uint64_t la, unsigned bytes,
		     unsigned acc);

#endif
