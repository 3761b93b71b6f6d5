/* SPDX-License-Identifier: MIT */
/* XSAVE and XRSTOR on the guest's area itself: xsave_in_place.c. */
#ifndef ANYKVM_EMUL_XSAVE_H
#define ANYKVM_EMUL_XSAVE_H

#include "emul/emulate.h"

/*
 * The host saves @rfbm into the area at @la, or restores it from there, whose header is in
 * order. False: this is not the usual case, or the host has met a fault; the caller does it
 * by way of an image, from the start.
 */
bool xsave_in_place(struct x86_emulate_ctxt *c, uint64_t la, uint64_t rfbm,
		    bool compact);
bool xrstor_in_place(struct x86_emulate_ctxt *c, uint64_t la, uint64_t rfbm);

#endif
