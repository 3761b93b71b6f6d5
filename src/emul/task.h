/* SPDX-License-Identifier: MIT */
/*
 * The door to task switches for far transfers and event delivery. The switch
 * itself is emulator_task_switch() (emulate.h), which the owner's
 * ops->task_switch runs or turns into a VM exit.
 */
#ifndef ANYKVM_EMUL_TASK_H
#define ANYKVM_EMUL_TASK_H

#include "emul/desc.h"

/*
 * Checks the TSS that @sel names (in the GDT, available or for IRET busy,
 * present, long enough), then calls ops->task_switch. c->next_rip is the
 * instruction pointer that the old task keeps; afterwards it is the new one's.
 *
 * @ext	the EXT bit of the checks' error codes
 * @ec	error code to push, NULL: none
 */
int task_enter(struct x86_emulate_ctxt *c, uint16_t sel, int reason,
	       uint32_t ext, const uint32_t *ec);


#endif
