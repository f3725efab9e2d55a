/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What every micro-block stands on: types, the kernel's helpers, reading and writing packets, verdicts. */
#ifndef PCNC_BLOCK_H
#define PCNC_BLOCK_H

/* A program may well ask what is always true, or say a thing twice. */
#pragma clang diagnostic ignored "-Wtautological-compare"
#pragma clang diagnostic ignored "-Wtautological-constant-out-of-range-compare"
#pragma clang diagnostic ignored "-Wparentheses-equality"

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
/* map values are aligned to 8 bytes, not to 16 */
typedef unsigned __int128 u128 __attribute__((aligned(8)));

#define SEC(name) __attribute__((section(name), used))
#define UNUSED __attribute__((unused))
/* Without debug information an inlined function counts as the line that calls it, which is a line of PCN. */
#define INLINE static inline __attribute__((always_inline, nodebug))
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name

enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PROG_ARRAY = 3,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LPM_TRIE = 11,
};
enum { BPF_F_NO_PREALLOC = 1, BPF_F_RDONLY_PROG = 128 };

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const bpf_loop)(u32 turns, void *callback, void *data, u64 flags) = (void *)181;

#ifdef PCNC_TC

/* struct __sk_buff of linux/bpf.h, as far as it is used */
struct pcnc_context {
	u32 len, pkt_type, mark, queue_mapping, protocol;
	u32 vlan_present, vlan_tci, vlan_proto;
	u32 priority, ingress_ifindex, ifindex, tc_index, cb[5], hash, tc_classid;
	u32 data, data_end;
};
static long (*const bpf_l4_csum_replace)(void *skb, u32 offset, u64 from, u64 to, u64 flags) = (void *)11;
static long (*const bpf_skb_vlan_push)(void *skb, u16 protocol, u16 tci) = (void *)18;
static long (*const bpf_skb_vlan_pop)(void *skb) = (void *)19;
static long (*const bpf_skb_pull_data)(void *skb, u32 length) = (void *)39;
enum { BPF_F_PSEUDO_HDR = 16, BPF_F_MARK_MANGLED_0 = 32, BPF_F_MARK_ENFORCE = 64, BPF_F_IPV6 = 128 };
/* TC_ACT_UNSPEC lets the next filter decide, TC_ACT_OK ends the filters */
enum { PCNC_NEXT = -1, PCNC_PASS = 0, PCNC_DROP = 2 };

#else

/* struct xdp_md of linux/bpf.h, as far as it is used */
struct pcnc_context {
	u32 data, data_end;
};
enum { PCNC_DROP = 1, PCNC_PASS = 2, PCNC_NEXT = 2 };

#endif

/* ---- the way from block to block */

/* The blocks of this generation; each has its own array, filled before any packet can reach it. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, 4);
} blocks SEC(".maps");

/* How often packets ended, and why: one counter a reason. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} verdicts SEC(".maps");

/* Ends the packet's way with a verdict, counted under its reason. */
INLINE int pcnc_end(u32 reason, int verdict)
{
	u64 *count = bpf_map_lookup_elem(&verdicts, &reason);
	if (count)
		*count += 1;
	return verdict;
}

/* Jumps to the block in a slot. The kernel patches a constant slot to a direct jump, but only where the instruction
 * really holds a constant, which only assembly can promise. Returns where the slot is empty. */
#define pcnc_jump(ctx, slot)                                                                                            \
	asm volatile("r1 = %[context]\n\tr2 = %[map] ll\n\tr3 = %[index]\n\tcall 12"                                    \
		     :                                                                                                  \
		     : [context] "r"(ctx), [map] "i"(&blocks), [index] "i"(slot)                                        \
		     : "r0", "r1", "r2", "r3", "r4", "r5", "memory")

/* ---- what a table counts */

struct pcnc_counter {
	u64 packets, bytes;
};

INLINE void pcnc_count(void *counters, u32 slot, u32 bytes)
{
	struct pcnc_counter *counter = bpf_map_lookup_elem(counters, &slot);
	if (counter) {
		counter->packets += 1;
		counter->bytes += bytes;
	}
}

/* ---- the packet */

/* What lies further back than this is not parsed; the verifier wants to know that offsets end somewhere. */
#define PCNC_FARTHEST 65000u

/* Where the frame begins and ends. In assembly, since the verifier takes only a load into a whole register for a pointer,
 * and after some helpers the frame lies elsewhere: the compiler must neither narrow this load nor keep its result. */
INLINE u8 *pcnc_start(struct pcnc_context *ctx)
{
	u64 start;
	asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(start) : "r"(ctx), "i"(__builtin_offsetof(struct pcnc_context, data)));
	return (u8 *)start;
}

INLINE u8 *pcnc_finish(struct pcnc_context *ctx)
{
	u64 end;
	asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(end) : "r"(ctx), "i"(__builtin_offsetof(struct pcnc_context, data_end)));
	return (u8 *)end;
}

#ifndef PCNC_TC
/* The bytes between two pointers. The compiler must not take a program's own arithmetic into this subtraction: the verifier
 * lets pointers be subtracted from one another, and refuses other arithmetic on half of one. */
INLINE u32 pcnc_between(const u8 *start, const u8 *end)
{
	u32 bytes = (u32)(end - start);
	asm volatile("" : "+r"(bytes));
	return bytes;
}
#endif

/* The frame's length in bytes, a VLAN tag that the kernel keeps beside it included. */
INLINE u32 pcnc_length(struct pcnc_context *ctx)
{
#ifdef PCNC_TC
	return ctx->len + (ctx->vlan_present ? 4 : 0);
#else
	return pcnc_between(pcnc_start(ctx), pcnc_finish(ctx));
#endif
}

/* The bytes of the frame that a program can reach. */
INLINE u32 pcnc_reach(struct pcnc_context *ctx)
{
#ifdef PCNC_TC
	return ctx->len;
#else
	return pcnc_between(pcnc_start(ctx), pcnc_finish(ctx));
#endif
}

/* Where `size` bytes at `offset` lie, or 0. At TC they may have to be made linear first: earlier pointers end there. */
INLINE u8 *pcnc_bytes(struct pcnc_context *ctx, u32 offset, u32 size)
{
	u8 *start, *end;
#if __clang_major__ < 19
	/* these would compare a copy of the offset, and the verifier does not take what it learns of one for the other */
	if (!__builtin_constant_p(offset))
		asm volatile("" : "+r"(offset));
#endif
	if (offset > PCNC_FARTHEST)
		return 0;
	start = pcnc_start(ctx) + offset;
	/* the verifier checks this very pointer: it must not be computed a second time */
	asm volatile("" : "+r"(start));
	end = pcnc_finish(ctx);
	if (start + size <= end)
		return start;
#ifdef PCNC_TC
	if (bpf_skb_pull_data(ctx, offset + size))
		return 0;
	start = pcnc_start(ctx) + offset;
	/* the verifier checks this very pointer: it must not be computed a second time */
	asm volatile("" : "+r"(start));
	end = pcnc_finish(ctx);
	if (start + size <= end)
		return start;
#endif
	return 0;
}

INLINE u16 pcnc_load16(const u8 *at) { return __builtin_bswap16(*(const u16 *)at); }
INLINE u32 pcnc_load32(const u8 *at) { return __builtin_bswap32(*(const u32 *)at); }
INLINE u64 pcnc_load48(const u8 *at) { return (u64)pcnc_load16(at) << 32 | pcnc_load32(at + 2); }
INLINE u64 pcnc_load64(const u8 *at) { return __builtin_bswap64(*(const u64 *)at); }
INLINE u128 pcnc_load128(const u8 *at) { return (u128)pcnc_load64(at) << 64 | pcnc_load64(at + 8); }
INLINE void pcnc_store16(u8 *at, u16 value) { *(u16 *)at = __builtin_bswap16(value); }
INLINE void pcnc_store32(u8 *at, u32 value) { *(u32 *)at = __builtin_bswap32(value); }
INLINE void pcnc_store48(u8 *at, u64 value)
{
	pcnc_store16(at, (u16)(value >> 32));
	pcnc_store32(at + 2, (u32)value);
}
INLINE void pcnc_store64(u8 *at, u64 value) { *(u64 *)at = __builtin_bswap64(value); }
INLINE void pcnc_store128(u8 *at, u128 value)
{
	pcnc_store64(at, value >> 64);
	pcnc_store64(at + 8, value);
}

/* A value as it lies in the key of an LPM_TRIE. */
INLINE u8 pcnc_big8(u8 value) { return value; }
INLINE u16 pcnc_big16(u16 value) { return __builtin_bswap16(value); }
INLINE u32 pcnc_big32(u32 value) { return __builtin_bswap32(value); }
INLINE u64 pcnc_big64(u64 value) { return __builtin_bswap64(value); }
INLINE u128 pcnc_big128(u128 value)
{
	return (u128)__builtin_bswap64(value) << 64 | __builtin_bswap64(value >> 64);
}

/* Writes two words that lie side by side, at a multiple of eight, as one: a load of both, as the kernel's LPM trie makes it,
 * takes the value of one earlier store at once, and has to wait for two. */
INLINE void pcnc_write_pair(void *at, u32 first, u32 second)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	*(u64 *)at = (u64)second << 32 | first;
#else
	*(u64 *)at = (u64)first << 32 | second;
#endif
}

/* ---- Internet checksums (RFC 1071, RFC 1624 equation 3) */

/* The sum of the 16-bit words from `at`; an odd last byte is followed by a zero. */
INLINE u32 pcnc_sum(const u8 *at, u32 bytes)
{
	u32 sum = 0;
#pragma unroll
	for (u32 i = 0; i + 1 < bytes; i += 2)
		sum += pcnc_load16(at + i);
	if (bytes & 1)
		sum += at[bytes - 1] << 8;
	return sum;
}

INLINE u16 pcnc_fold(u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* How a sum changes where bytes that summed up to `before` now sum up to `after`; never 0, which is 0xffff here. */
INLINE u16 pcnc_change(u32 before, u32 after)
{
	return pcnc_fold(after + (u16)~pcnc_fold(before) + 0xffff);
}

/* The same change, seen from a sum that begins an odd number of bytes away. */
INLINE u16 pcnc_aligned(u16 change, u32 distance)
{
	return distance & 1 ? __builtin_bswap16(change) : change;
}

INLINE u16 pcnc_updated(u16 sum, u16 change)
{
	return ~pcnc_fold((u16)~sum + (u32)change);
}

/* Did an address of the pseudo-header change; may the sum be 0 for "none", as over IPv4 it may (RFC 768)? */
enum { PCNC_PSEUDO = 1, PCNC_OPTIONAL = 2 };

/* Updates the sum at `offset` of a header that covers its payload. Returns 0, or -1 where it does not lie in the packet. */
INLINE int pcnc_update_sum(struct pcnc_context *ctx, u32 offset, u16 change, u32 about, u32 over_ipv4)
{
	u8 *at = pcnc_bytes(ctx, offset, 2);
	u16 sum;
	if (!at)
		return -1;
	sum = pcnc_load16(at);
	if ((about & PCNC_OPTIONAL) && over_ipv4 && !sum)
		return 0;
#ifdef PCNC_TC
	{
		/* a helper, since it knows whether the device or the stack completes this sum later */
		u64 flags = 0;
		long failed;
		if (about & PCNC_PSEUDO)
			flags |= BPF_F_PSEUDO_HDR;
		if (about & PCNC_OPTIONAL)
			flags |= BPF_F_MARK_MANGLED_0 | BPF_F_MARK_ENFORCE;
		if ((about & PCNC_PSEUDO) && !over_ipv4) {
			failed = bpf_l4_csum_replace(ctx, offset, 0, __builtin_bswap16(change), flags | BPF_F_IPV6);
			if (!failed)
				return 0;
		}
		return bpf_l4_csum_replace(ctx, offset, 0, __builtin_bswap16(change), flags) ? -1 : 0;
	}
#else
	sum = pcnc_updated(sum, change);
	if ((about & PCNC_OPTIONAL) && !sum)
		sum = 0xffff;
	pcnc_store16(at, sum);
	return 0;
#endif
}

/* The sum that stands at `offset` now; 0 where that lies outside the packet. */
INLINE u16 pcnc_sum_at(struct pcnc_context *ctx, u32 offset)
{
	u8 *at = pcnc_bytes(ctx, offset, 2);
	return at ? pcnc_load16(at) : 0;
}

/* ---- VLAN tags at TC: the kernel keeps the outer tag beside the frame, and the bytes already show the inner type */

#define PCNC_BESIDE_THE_FRAME 0xffffu

#ifdef PCNC_TC
INLINE int pcnc_write_tag(struct pcnc_context *ctx, u16 keep, u16 bits)
{
	u16 tci = ctx->vlan_tci, protocol = ctx->vlan_proto;
	if (bpf_skb_vlan_pop(ctx))
		return -1;
	return bpf_skb_vlan_push(ctx, protocol, (tci & keep) | bits) ? -1 : 0;
}
#endif

#endif
