/* Traffic made and counted in the kernel: see traffic.py. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#define SEC(name) __attribute__((section(name), used))
#define MAP(kind, entries, key_type, value_type, name)                                                                         \
    struct {                                                                                                                   \
        int (*type)[kind];                                                                                                     \
        int (*max_entries)[entries];                                                                                           \
        key_type *key;                                                                                                         \
        value_type *value;                                                                                                     \
    } name SEC(".maps")

#define LONGEST_PACKET 1520 /* and 14 the shortest; traffic.py says the same */

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static __u64 (*const bpf_ktime_get_ns)(void) = (void *)BPF_FUNC_ktime_get_ns;
static __u32 (*const bpf_get_prandom_u32)(void) = (void *)BPF_FUNC_get_prandom_u32;
static long (*const bpf_redirect_map)(void *map, __u64 key, __u64 flags) = (void *)BPF_FUNC_redirect_map;
static long (*const bpf_xdp_adjust_tail)(struct xdp_md *context, int delta) = (void *)BPF_FUNC_xdp_adjust_tail;
static long (*const bpf_xdp_store_bytes)(struct xdp_md *context, __u32 offset, void *from, __u32 length) =
    (void *)BPF_FUNC_xdp_store_bytes;

/* ---- sending */

struct packet {
    __u64 sent;
    __u32 length, unused;
    __u8 bytes[LONGEST_PACKET];
};
MAP(BPF_MAP_TYPE_ARRAY, 1, __u32, struct packet, packets);
MAP(BPF_MAP_TYPE_DEVMAP, 1, __u32, __u32, device);

/* `interval`: 1/1024 ns from one frame to the next, 0 for as many as go; `stopped`: send no more. Written from user space. */
struct pace {
    __u64 interval, stopped;
};
MAP(BPF_MAP_TYPE_ARRAY, 1, __u32, struct pace, pace);

/* How many packets there are, and the word in them that varies: the packet's own plus a random number below `count`, in network
   byte order at `offset`, `width` 0 (none), 2 or 4 bytes wide. The checksums at `checksum` (0: none) follow. At `number` (0: nowhere)
   stands, 8 bytes in host order, how many frames of the packet went before. `burst` frames may follow each other after a pause. */
struct setup {
    __u32 packets, offset, width, count, checksum[2], number, burst;
};
const volatile struct setup setup SEC(".rodata.setup") = {.packets = 1, .burst = 1};

static __u64 next_due; /* 1/1024 ns */
static __u32 turn;

/* Whether it is time for a frame. Frames are run through `generate` as fast as they go, and those that are not due are dropped:
   so the pace is even, and no time is spent with interrupts off. A pause is made up for by a burst, and no more. */
static inline int due(void)
{
    __u32 key = 0;
    struct pace *set = bpf_map_lookup_elem(&pace, &key);

    if (!set || set->stopped)
        return 0;
    if (set->interval) {
        __u64 now = bpf_ktime_get_ns() << 10;

        if (now < next_due)
            return 0;
        next_due = next_due + setup.burst * set->interval < now ? now : next_due + set->interval;
    }
    return 1;
}

static inline __u64 length_of(struct xdp_md *context)
{
    return (void *)(long)context->data_end - (void *)(long)context->data;
}

static inline __u16 *word_at(struct xdp_md *context, __u32 offset)
{
    void *data = (void *)(long)context->data, *end = (void *)(long)context->data_end;
    __u16 *word = data + offset;

    return (void *)(word + 1) <= end ? word : 0;
}

/* RFC 1624, equation 3: the sum that stood for `before` stands for `after`. */
static inline __u16 adjusted(__u16 sum, __u32 before, __u32 after)
{
    __u32 wide = (__u16)~sum + (~before & 0xffff) + (~before >> 16) + (after & 0xffff) + (after >> 16);

    wide = (wide & 0xffff) + (wide >> 16);
    wide = (wide & 0xffff) + (wide >> 16);
    return ~wide;
}

static inline void vary(struct xdp_md *context)
{
    __u16 *high = word_at(context, setup.offset), *low = word_at(context, setup.offset + setup.width - 2);
    __u32 before, after;

    if (!high || !low)
        return;
    before = __builtin_bswap16(*low) | (setup.width == 4 ? (__u32)__builtin_bswap16(*high) << 16 : 0);
    after = before + bpf_get_prandom_u32() % setup.count;
    if (setup.width == 4)
        *high = __builtin_bswap16(after >> 16);
    else
        after &= 0xffff;
    *low = __builtin_bswap16(after);
#pragma unroll
    for (int i = 0; i < 2; i++) {
        __u16 *sum = word_at(context, setup.checksum[i]);

        if (setup.checksum[i] && sum)
            *sum = __builtin_bswap16(adjusted(__builtin_bswap16(*sum), before, after));
    }
}

static inline void number(struct xdp_md *context, __u64 before)
{
    void *data = (void *)(long)context->data, *end = (void *)(long)context->data_end;
    __u64 *at = data + setup.number;

    if ((void *)(at + 1) <= end)
        *at = before;
}

SEC("xdp") int generate(struct xdp_md *context)
{
    __u32 key = turn;
    __u64 length;
    struct packet *packet;

    if (!due())
        return XDP_DROP;
    turn = turn + 1 < setup.packets ? turn + 1 : 0;
    packet = bpf_map_lookup_elem(&packets, &key);
    if (!packet)
        return XDP_ABORTED;
    length = packet->length;
    asm volatile("" : "+r"(length)); /* or clang reads it again where the verifier must know its bounds */
    if (length < 14 || length > LONGEST_PACKET)
        return XDP_ABORTED;
    if (length != length_of(context) && bpf_xdp_adjust_tail(context, length - length_of(context)))
        return XDP_ABORTED;
    if (bpf_xdp_store_bytes(context, 0, packet->bytes, length))
        return XDP_ABORTED;
    if (setup.width)
        vary(context);
    if (setup.number)
        number(context, packet->sent);
    packet->sent++;
    return bpf_redirect_map(&device, 0, 0);
}

/* ---- counting */

MAP(BPF_MAP_TYPE_PERCPU_ARRAY, 2, __u32, __u64, seen);

static inline void count(__u64 bytes)
{
    __u32 packets_key = 0, bytes_key = 1;
    __u64 *packet_count = bpf_map_lookup_elem(&seen, &packets_key);
    __u64 *byte_count = bpf_map_lookup_elem(&seen, &bytes_key);

    if (packet_count && byte_count) {
        *packet_count += 1;
        *byte_count += bytes;
    }
}

SEC("xdp") int sink(struct xdp_md *context)
{
    count(length_of(context));
    return XDP_DROP;
}

/* Lets everything by. A veth device whose peer carries an XDP program hands frames over the way XDP needs it. */
SEC("xdp") int gate(struct xdp_md *context)
{
    count(length_of(context));
    return XDP_PASS;
}

SEC("tc") int sink_tc(struct __sk_buff *context)
{
    count(context->len);
    return TC_ACT_SHOT;
}

char _license[] SEC("license") = "Dual BSD/GPL";
