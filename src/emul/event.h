/* SPDX-License-Identifier: MIT */
/* What INT n needs of event delivery. */
#ifndef ANYKVM_EMUL_EVENT_H
#define ANYKVM_EMUL_EVENT_H

#include "emul/emulate.h"

/* Whether CR4.VME and the TSS send INT @vector of vm86 to the 8086 program's own
 * handler. #GP(0) when the TSS has no such bitmap. */
int event_vme_redirected(struct x86_emulate_ctxt *c, uint8_t vector, bool *yes);

#endif
