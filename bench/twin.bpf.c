// The firewall of examples/firewall.pcn as a good engineer writes it by hand: one program, LPM tries, counters per CPU.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual BSD/GPL";

struct prefix {
    __u32 length;     // bits
    __be32 address;
};

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 65536);
    __type(key, struct prefix);
    __type(value, __u32);    // enum xdp_action
} sources SEC(".maps"), destinations SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, XDP_PASS + 1);
    __type(key, __u32);      // enum xdp_action
    __type(value, __u64);    // packets
} verdicts SEC(".maps");

static __always_inline int count(__u32 verdict)
{
    __u64 *packets = bpf_map_lookup_elem(&verdicts, &verdict);

    if (packets)
        *packets += 1;
    return verdict;
}

// The frame's IPv4 header, or NULL where there is none that is whole and well formed.
static __always_inline const struct iphdr *ipv4_of(const struct xdp_md *context)
{
    const void *frame = (const void *)(long)context->data;
    const void *end = (const void *)(long)context->data_end;
    const struct ethhdr *eth = frame;
    const struct iphdr *ip = (const void *)(eth + 1);
    __u32 header, total;

    if ((const void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
        return NULL;
    header = ip->ihl * 4;
    total = bpf_ntohs(ip->tot_len);
    if (ip->version != 4 || header < sizeof(*ip) || total < header || (const void *)ip + header > end)
        return NULL;
    return ip;
}

static __always_inline __u32 look_up(void *table, __be32 address)
{
    struct prefix key = { .length = 32, .address = address };
    const __u32 *verdict = bpf_map_lookup_elem(table, &key);

    return verdict ? *verdict : XDP_PASS;
}

// Rules on the source address only.
SEC("xdp")
int by_source(struct xdp_md *context)
{
    const struct iphdr *ip;

    if (context->data + sizeof(struct ethhdr) > context->data_end)
        return count(XDP_DROP);
    ip = ipv4_of(context);
    return count(ip ? look_up(&sources, ip->saddr) : XDP_PASS);
}

// Rules on the destination address only.
SEC("xdp")
int by_destination(struct xdp_md *context)
{
    const struct iphdr *ip;

    if (context->data + sizeof(struct ethhdr) > context->data_end)
        return count(XDP_DROP);
    ip = ipv4_of(context);
    return count(ip ? look_up(&destinations, ip->daddr) : XDP_PASS);
}

// Rules on both, the source address first.
SEC("xdp")
int by_both(struct xdp_md *context)
{
    const struct iphdr *ip;

    if (context->data + sizeof(struct ethhdr) > context->data_end)
        return count(XDP_DROP);
    ip = ipv4_of(context);
    if (!ip)
        return count(XDP_PASS);
    if (look_up(&sources, ip->saddr) == XDP_DROP)
        return count(XDP_DROP);
    return count(look_up(&destinations, ip->daddr));
}

// What every other program is measured against.
SEC("xdp")
int empty(struct xdp_md *context __attribute__((unused)))
{
    return XDP_PASS;
}
