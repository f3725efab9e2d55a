/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* remark, chain ingress: the entry, which stays on the device while generations of blocks come and go.
 * Its `blocks` has one slot, the first block of the live generation: to write that slot is to swap. */
#define PCNC_TC
#include "pcnc_block.h"

char pcnc_license[] SEC("license") = "Dual BSD/GPL";

SEC("tc") int pcnc_ingress(struct pcnc_context *ctx)
{
	pcnc_jump(ctx, 0);
	/* no generation: fail closed, and count it */
	return pcnc_end(0, PCNC_DROP);
}
