// Runs the program under test on many packets: lays the next packet into the frame, then jumps to the program.
// BPF_PROG_TEST_RUN repeats a program on one frame and never restores it; this does. The program may write to the frame,
// but must leave its length alone.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual BSD/GPL";

#define HEAD 80    // bytes: Ethernet, IPv6 and TCP, all that a program reads or writes; a multiple of 8

struct head {
    __u64 words[HEAD / 8];
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);       // set to the number of packets before it is made
    __type(key, __u32);
    __type(value, struct head);   // the packet's first bytes, in wire order
} packets SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u32);
} under_test SEC(".maps");

// Only one CPU measures at a time.
static volatile __u32 current;

SEC("xdp")
int rotate(struct xdp_md *context)
{
    __u32 number = current + 1;
    const struct head *head = bpf_map_lookup_elem(&packets, &number);
    void *frame = (void *)(long)context->data;
    void *end = (void *)(long)context->data_end;

    if (!head) {
        number = 0;
        head = bpf_map_lookup_elem(&packets, &number);
    }
    if (!head || frame + sizeof(*head) > end)
        return XDP_ABORTED;
    current = number;
    *(struct head *)frame = *head;
    bpf_tail_call_static(context, &under_test, 0);
    return XDP_ABORTED;
}

// The program that does nothing, whose time is subtracted.
SEC("xdp")
int nothing(struct xdp_md *context __attribute__((unused)))
{
    return XDP_PASS;
}
