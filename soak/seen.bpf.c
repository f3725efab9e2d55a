/* Counts what arrived, by what the gate wrote into it: see scene.py. */
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>

#define SEC(name) __attribute__((section(name), used))
#define CELLS 256 /* scene.py says the same */
#define ODD 255

struct {
    int (*type)[BPF_MAP_TYPE_ARRAY];
    int (*max_entries)[CELLS];
    int (*map_flags)[BPF_F_MMAPABLE];
    __u32 *key;
    __u64 *value;
} cells SEC(".maps");

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*const bpf_skb_load_bytes)(const void *skb, __u32 offset, void *to, __u32 length) = (void *)BPF_FUNC_skb_load_bytes;

static inline __u16 swapped(__u16 value) { return __builtin_bswap16(value); }

/* The data begin at the IPv4 header; datagrams to port 7 are ours. Nothing is queued on the socket. */
SEC("socket")
int seen(struct __sk_buff *skb)
{
    struct iphdr ip;
    struct udphdr udp;

    if (bpf_skb_load_bytes(skb, 0, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl != 5 || ip.protocol != IPPROTO_UDP)
        return 0;
    if (bpf_skb_load_bytes(skb, sizeof(ip), &udp, sizeof(udp)) || swapped(udp.dest) != 7)
        return 0;

    __u32 blocked = (ip.saddr & 0xff) == 10;
    __u32 dscp = ip.tos >> 2, ttl = ip.ttl == 64 ? 0 : ip.ttl, id = swapped(ip.id);
    __u32 cell = dscp < 4 && ttl < 4 && id < 4 ? blocked << 6 | dscp << 4 | ttl << 2 | id : ODD;
    __u64 *count = bpf_map_lookup_elem(&cells, &cell);

    if (count)
        __sync_fetch_and_add(count, 1);
    return 0;
}

static const char name_of_license[] SEC("license") = "GPL";
