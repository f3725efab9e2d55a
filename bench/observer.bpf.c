/* Every frame behind the verdict looked at: which version treated it, and whether it came once and in its turn. See observer.py. */
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

/* observer.py says the same. */
#define FLOWS 16
#define REMEMBERED 1024 /* the latest numbers of a flow, by which one that comes twice is known */
#define CHANGES 65536
#define MARKS_OFFSET 6 /* eth.src */
#define FLOW_OFFSET 42 /* a u64, then the number: the head of what a UDP datagram over IPv4 carries */

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static __u64 (*const bpf_ktime_get_ns)(void) = (void *)BPF_FUNC_ktime_get_ns;

/* The marks of a packet that only the first version's blocks treated, and of one that only the second's did. */
struct setup {
    __u64 versions[2];
};
const volatile struct setup setup SEC(".rodata.setup") = {};

/* One queue of a device is served by one CPU at a time: nothing here is atomic. `arrived`: by each version, and mixed. */
struct flow {
    __u64 arrived[3], next, duplicated, reordered, latest[REMEMBERED];
};
MAP(BPF_MAP_TYPE_ARRAY, FLOWS, __u32, struct flow, flows);

/* Since when frames have other marks than before (`first`), and when the last one had the ones before; ns, CLOCK_MONOTONIC. */
struct change {
    __u64 marks, last, first;
};
MAP(BPF_MAP_TYPE_ARRAY, CHANGES, __u32, struct change, changes);

struct now {
    __u64 marks, last, changes, foreign;
};
MAP(BPF_MAP_TYPE_ARRAY, 1, __u32, struct now, current);

static inline void notice(struct now *now, __u64 marks)
{
    __u64 time = bpf_ktime_get_ns();

    if (marks != now->marks) {
        __u32 key = now->changes++ % CHANGES;
        struct change *change = bpf_map_lookup_elem(&changes, &key);

        if (change) {
            change->marks = marks;
            change->last = now->last;
            change->first = time;
        }
        now->marks = marks;
    }
    now->last = time;
}

static inline void take(struct flow *flow, __u64 number, __u32 kind)
{
    __u64 *slot = &flow->latest[number % REMEMBERED];

    if (*slot == number + 1) {
        flow->duplicated++;
        return;
    }
    *slot = number + 1;
    if (kind < 3)
        flow->arrived[kind]++;
    if (number < flow->next)
        flow->reordered++;
    else
        flow->next = number + 1;
}

SEC("tc") int observe(struct __sk_buff *context)
{
    void *data = (void *)(long)context->data, *end = (void *)(long)context->data_end;
    __u16 *mark = data + MARKS_OFFSET;
    __u64 *words = data + FLOW_OFFSET, marks;
    __u32 key = 0, kind;
    struct now *now = bpf_map_lookup_elem(&current, &key);
    struct flow *flow;

    if (!now)
        return TC_ACT_SHOT;
    if ((void *)(words + 2) > end || words[0] >= FLOWS) {
        now->foreign++;
        return TC_ACT_SHOT;
    }
    marks = (__u64)__builtin_bswap16(mark[0]) << 32 | (__u64)__builtin_bswap16(mark[1]) << 16 | __builtin_bswap16(mark[2]);
    kind = marks == setup.versions[0] ? 0 : marks == setup.versions[1] ? 1 : 2;
    key = words[0];
    flow = bpf_map_lookup_elem(&flows, &key);
    if (flow)
        take(flow, words[1], kind);
    notice(now, marks);
    return TC_ACT_SHOT;
}

char _license[] SEC("license") = "Dual BSD/GPL";
