/* Two programs that mark a packet, for measuring how one takes the place of the other on a device: see replace_link.py. */
#include <linux/bpf.h>

#define SEC(name) __attribute__((section(name), used))

static inline int mark(struct xdp_md *context, __u8 value)
{
    __u8 *data = (void *)(long)context->data, *end = (void *)(long)context->data_end;

    if (data + 14 <= end)
        data[11] = value; /* the last byte of eth.src */
    return XDP_PASS;
}

SEC("xdp") int first(struct xdp_md *context)
{
    return mark(context, 1);
}

SEC("xdp") int second(struct xdp_md *context)
{
    return mark(context, 2);
}

char _license[] SEC("license") = "Dual BSD/GPL";
