/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the C side of weft.ko offers to the Rust side, and the other way round.
 *
 * A function is here because the kernel has it only as a macro or an inline, or
 * because the compiler must see the kernel's own declaration (linker sets,
 * VNET variables).  There is no logic here and no state that Rust could hold.
 */
#ifndef _WEFT_SHIM_H_
#define	_WEFT_SHIM_H_

#include "opt_inet.h"
#include "opt_inet6.h"
#include "opt_route.h"

#include <sys/param.h>
#include <sys/systm.h>
#include <sys/epoch.h>
#include <sys/kernel.h>
#include <sys/linker.h>
#include <sys/lock.h>
#include <sys/malloc.h>
#include <sys/mbuf.h>
#include <sys/module.h>
#include <sys/mutex.h>
#include <sys/proc.h>
#include <sys/rmlock.h>
#include <sys/signalvar.h>
#include <sys/socket.h>
#include <sys/sockio.h>
#include <sys/sysctl.h>
#include <sys/syslog.h>
#include <sys/taskqueue.h>

#include <vm/vm.h>
#include <vm/vm_extern.h>

#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_clone.h>
#include <net/if_media.h>
#include <net/if_types.h>
#include <net/if_var.h>
#include <net/pfil.h>
#include <net/route.h>
#include <net/route/nhop.h>
#include <net/route/route_ctl.h>
#include <net/route/route_var.h>
#include <net/route/fib_algo.h>
#include <net/vnet.h>

#include <netinet/in.h>
#include <netinet/in_fib.h>
#include <netinet/ip_var.h>
#include <netinet6/in6_fib.h>
#include <netinet6/ip6_var.h>

#include "weft.h"
#include "weft_nic.h"

/* Rust: the module's event handler. */
int	weft_module_event(module_t, int, void *);

/* kernel.c */
MALLOC_DECLARE(M_WEFT);
MALLOC_DECLARE(M_WEFT_FIB);
MALLOC_DECLARE(M_WEFT_PACKET);
struct thread *weft_shim_curthread(void);
bool	weft_shim_can_sleep(void);
u_int	weft_shim_stack_used(void);
u_int	weft_shim_locks_held(void);
void	weft_shim_pause_ms(u_int);
bool	weft_shim_getenv(const char *, char *, int);
void	weft_shim_delay_us(u_int);
void	weft_shim_log(int, const char *, size_t);
void	weft_shim_panic(const char *, size_t) __dead2;
size_t	weft_shim_object_size(const void *);
uint64_t weft_shim_cpu_ticks(void);
uint64_t weft_shim_physical_bytes(void);

/*
 * A kernel object whose type the module was compiled with, and the size that
 * type had then.
 */
struct weft_shim_object {
	const char	*type;
	const void	*object;
	size_t		 size;
};
extern const struct weft_shim_object weft_shim_objects[];
extern const size_t weft_shim_nobjects;
extern const int weft_shim_osreldate;
extern const int weft_shim_vimage;

/* epoch.c */
void	weft_shim_net_epoch_enter(struct epoch_tracker *);
bool	weft_shim_net_epoch_ensure(struct epoch_tracker *);
void	weft_shim_net_epoch_exit(struct epoch_tracker *);
void	weft_shim_net_epoch_drain(void);
void	weft_shim_net_epoch_wait(void);

/* lock.c */
void	weft_shim_mtx_init(struct mtx *, const char *);
void	weft_shim_mtx_destroy(struct mtx *);
void	weft_shim_mtx_lock(struct mtx *);
void	weft_shim_mtx_unlock(struct mtx *);

/* task.c */
void	weft_shim_task_init(struct task *, task_fn_t *, void *);
void	weft_shim_task_enqueue(struct task *);
void	weft_shim_task_drain(struct task *);
void	weft_shim_timer_init(struct timeout_task *, task_fn_t *, void *);
void	weft_shim_timer_enqueue(struct timeout_task *, u_int);
void	weft_shim_timer_drain(struct timeout_task *);

/* cpu.c */
void	weft_shim_critical_enter(void);
void	weft_shim_critical_exit(void);
u_int	weft_shim_curcpu(void);
u_int	weft_shim_cpus(void);
bool	weft_shim_cpu_present(u_int);
void	weft_shim_bind(u_int);
void	weft_shim_unbind(void);

/* event.c */
struct eventhandler_entry *weft_shim_lowmem_register(void (*)(void *, int),
	    void *);
void	weft_shim_lowmem_deregister(struct eventhandler_entry *);
enum weft_event {
	WEFT_EVENT_ARRIVED,		/* may sleep */
	WEFT_EVENT_DEPARTED,		/* may sleep */
	WEFT_EVENT_UP,			/* may sleep */
	WEFT_EVENT_ADDRESS,
	WEFT_EVENT_MAC,
	WEFT_EVENT_LINK,
	WEFT_EVENTS,
};
/* Rust: what has happened to an interface. */
void	weft_interface_event(if_t, enum weft_event);
bool	weft_shim_interfaces_watch(struct eventhandler_entry **);
void	weft_shim_interfaces_unwatch(struct eventhandler_entry **);
struct weft_vlans {
	struct eventhandler_entry *come;
	struct eventhandler_entry *go;
};
typedef void weft_vlan_event_t(void *, struct ifnet *, uint16_t);
typedef weft_vlan_event_t *weft_vlan_event;
bool	weft_shim_vlans_watch(struct weft_vlans *, weft_vlan_event,
	    weft_vlan_event, void *);
void	weft_shim_vlans_unwatch(const struct weft_vlans *);

/* counter.c */
uint64_t *weft_shim_counter_new(void);
void	weft_shim_counter_free(uint64_t *);
void	weft_shim_counter_add(uint64_t *, uint64_t);
uint64_t weft_shim_counter_read(uint64_t *);

/* mbuf.c */
#define	WEFT_EMBEDDED		256
#define	WEFT_ENGINE_FROM	128
#define	WEFT_ENGINE_TO		240
struct weft_mbuf_storage {
	void		*buffer;	/* for release */
	char		*start;		/* of what is around the data */
	char		*data;
	volatile u_int	*refs;
	m_ext_free_t	*release;
	uint32_t	 size;
	uint32_t	 len;		/* of the data */
};
/* What an mbuf begins with. */
#define	WEFT_MBUF_FLAGS		8	/* where in bits they begin */
#define	WEFT_MBUF_UNMAPPED	(M_EXTPG << WEFT_MBUF_FLAGS)
struct weft_mbuf_link {
	struct mbuf	*next;
	struct mbuf	*nextpkt;
	char		*data;
	int32_t		 len;
	uint32_t	 bits;		/* the type, and the flags above it */
	/* Of one that begins a packet. */
	struct ifnet	*rcvif;
	struct ifnet	*leaf_rcvif;
	struct m_tag	*tags;
	int32_t		 packet_len;
	uint32_t	 flowid;
	uint32_t	 csum_flags;
	uint16_t	 fib;
	uint8_t		 numa_domain;
	uint8_t		 rsstype;
	uint64_t	 timestamp;
	uint16_t	 vtag;
	uint16_t	 segsz;		/* or how many it was put together of */
	uint32_t	 csum_value;
	uint32_t	 note;		/* whoever has the packet may use it */
};
struct weft_mbuf_meta {
	uint64_t	timestamp;
	uint32_t	flags;
	uint32_t	flowid;
	uint32_t	csum_flags;
	uint32_t	csum_value;
	uint16_t	vtag;
	uint16_t	segsz;
	uint16_t	fib;
	uint8_t		rsstype;
};
enum weft_hash {
	WEFT_HASH_IPV4 = M_HASHTYPE_RSS_IPV4,
	WEFT_HASH_TCP_IPV4 = M_HASHTYPE_RSS_TCP_IPV4,
	WEFT_HASH_UDP_IPV4 = M_HASHTYPE_RSS_UDP_IPV4,
	WEFT_HASH_IPV6 = M_HASHTYPE_RSS_IPV6,
	WEFT_HASH_TCP_IPV6 = M_HASHTYPE_RSS_TCP_IPV6,
	WEFT_HASH_UDP_IPV6 = M_HASHTYPE_RSS_UDP_IPV6,
	WEFT_HASH_OPAQUE = M_HASHTYPE_OPAQUE_HASH,
};
int	weft_shim_mbuf_embed(struct mbuf *, const struct weft_mbuf_storage *);
struct mbuf *weft_shim_mbuf_refer(const struct weft_mbuf_storage *);
void	weft_shim_mbuf_chain(struct mbuf *, struct mbuf *);
void	weft_shim_mbuf_move_header(struct mbuf *, struct mbuf *);
bool	weft_shim_mbuf_embedded(struct mbuf *, m_ext_free_t *,
	    struct weft_mbuf_storage *);
void	*weft_shim_mbuf_buffer(const struct mbuf *);
void	weft_shim_mbuf_set_meta(struct mbuf *, const struct weft_mbuf_meta *,
	    uint32_t);
struct m_tag *weft_shim_mbuf_tags(const struct mbuf *);
void	weft_shim_mbuf_set_tags(struct mbuf *, struct m_tag *);

/* probe.c */
struct sdt_probe;
void	weft_shim_probe(struct sdt_probe *, uintptr_t, uintptr_t, uintptr_t);

#ifdef WEFT_TEST
/* test/mbuf.c */
void	weft_shim_mbuf_catpkt(struct mbuf *, struct mbuf *);
void	weft_shim_mbuf_copyback(struct mbuf *, const void *, u_int);
void	weft_shim_mbuf_add_tag(struct mbuf *, struct m_tag *);
struct mbuf *weft_shim_mbuf_scattered(const void *, u_int, u_int);
struct mbuf *weft_shim_mbuf_unmapped(const void *, u_int);

/* test/sums.c */
enum weft_test_way {
	WEFT_TEST_OURS,
	WEFT_TEST_THEIRS,
	WEFT_TEST_OUR_CRC,
	WEFT_TEST_THEIR_CRC,
};
uint64_t weft_test_sum(u_int, u_int, u_int, u_int, enum weft_test_way);
int	weft_test_sums_differ(u_int);

/* test/probes.c */
u_int	weft_test_probes(bool);
uint64_t weft_test_probe(u_int, u_int);

/* test/gate.c */
#include "test/gates.h"
#define	WEFT_GATE_NAME(name)	WEFT_GATE_##name,
enum weft_gate {
	WEFT_GATES(WEFT_GATE_NAME)
};
#define	WEFT_GATE_FRAMES	6
#define	WEFT_GATE_WORDS		(3 + WEFT_GATE_FRAMES)
#define	WEFT_GATE_SITES		1024
void	weft_test_gate_forget(void);
void	weft_test_gate_shut(u_int, u_int);
u_int	weft_test_gate_failed(void);
u_int	weft_test_gate_forgotten(void);
u_int	weft_test_gate_site(u_int, u_int);

/* test/ip6.c */
struct mbuf *weft_test_ip6(const void *, u_int);
uint64_t weft_test_ip6_input(struct mbuf *);

/* test/offload.c */
struct weft_test_asked {
	u_int		payload;	/* bytes behind the header */
	u_int		pieces;
	uint32_t	csum_flags;
	uint16_t	segsz;
	uint16_t	vtag;
	bool		is_tagged;
};
int	weft_test_offload(const char *, const void *, u_int,
	    const struct weft_test_asked *);

/* test/peers.c */
uint64_t weft_test_mbuf(u_int, u_int, u_int);
uint64_t weft_test_tag(u_int, uint32_t, u_int);
uint64_t weft_test_buf_ring(u_int, u_int, void **);
uint64_t weft_test_mbufq(u_int, u_int, void **);
uint64_t weft_test_mp_ring(u_int, u_int, void **);
uint64_t weft_test_mtx_sent(u_int, u_int, void **);
uint64_t weft_test_buf_ring_sent(u_int, u_int, void **);
uint64_t weft_test_mbufq_sent(u_int, u_int, void **);
uint64_t weft_test_mp_ring_sent(u_int, u_int, void **);
struct weft_test_tasks;
struct weft_test_tasks *weft_test_tasks_new(void);
void	weft_test_tasks_free(struct weft_test_tasks *);
void	weft_test_tasks_ask(struct weft_test_tasks *);
bool	weft_test_tasks_run(struct weft_test_tasks *);
uint64_t weft_test_buf_ring_task(u_int, u_int, void **);
uint64_t weft_test_mbufq_task(u_int, u_int, void **);
struct mbuf *weft_test_hold(u_int, u_int);
void	weft_test_release(struct mbuf *);
#endif

/* mbuf.c, for packets in queues and on their way between interfaces */
void	weft_shim_mbuf_hand_over(struct mbuf *, if_t);
struct mbuf *weft_shim_mbuf_own_front(struct mbuf *, u_int);
struct mbuf *weft_shim_mbuf_grow_front(struct mbuf *, u_int);
void	weft_shim_mbuf_settle(struct mbuf *, uint32_t, uint32_t, bool);
void	weft_shim_mbuf_trust(struct mbuf *);
struct mbuf *weft_shim_mbuf_part(const struct mbuf *, u_int, u_int, u_int);

/* mbuf.c, for packets on their way to and from devices */
#define	WEFT_COPIED		128	/* bytes, no more than fit */
struct mbuf *weft_shim_mbuf_copied(const void *, u_int);
struct mbuf *weft_shim_mbuf_with_cluster(u_int);
void	weft_shim_mbuf_append(struct mbuf *, struct mbuf *, struct mbuf *);

/* ifnet.c */
enum weft_ioctl {
	WEFT_SIFFLAGS = SIOCSIFFLAGS,
	WEFT_ADDMULTI = SIOCADDMULTI,
	WEFT_DELMULTI = SIOCDELMULTI,
	WEFT_SIFMTU = SIOCSIFMTU,
	WEFT_SIFADDR = SIOCSIFADDR,
	WEFT_SIFCAP = SIOCSIFCAP,
	WEFT_SIFMEDIA = SIOCSIFMEDIA,
	WEFT_GIFMEDIA = SIOCGIFMEDIA,
	WEFT_GIFXMEDIA = SIOCGIFXMEDIA,
};
enum weft_iftype {
	WEFT_IFT_ETHER = IFT_ETHER,
	WEFT_IFT_L2VLAN = IFT_L2VLAN,
};
/* Bits, or a shift that bindgen does not see as a number. */
enum weft_ifcap {
	WEFT_IFCAP_RXCSUM = IFCAP_RXCSUM,
	WEFT_IFCAP_RXCSUM_IPV6 = IFCAP_RXCSUM_IPV6,
	WEFT_IFCAP_TXCSUM = IFCAP_TXCSUM,
	WEFT_IFCAP_TXCSUM_IPV6 = IFCAP_TXCSUM_IPV6,
	WEFT_IFCAP_TSO4 = IFCAP_TSO4,
	WEFT_IFCAP_TSO6 = IFCAP_TSO6,
	WEFT_IFCAP_VLAN_MTU = IFCAP_VLAN_MTU,
	WEFT_IFCAP_VLAN_HWTAGGING = IFCAP_VLAN_HWTAGGING,
	WEFT_IFCAP_VLAN_HWCSUM = IFCAP_VLAN_HWCSUM,
	WEFT_IFCAP_VLAN_HWTSO = IFCAP_VLAN_HWTSO,
	WEFT_IFCAP_JUMBO_MTU = IFCAP_JUMBO_MTU,
	WEFT_IFCAP_LINKSTATE = IFCAP_LINKSTATE,
	WEFT_IFCAP_LRO = IFCAP_LRO,
	WEFT_IFCAP_VLAN_HWFILTER = IFCAP_VLAN_HWFILTER,
};
void	weft_shim_ifnet_input(if_t, struct mbuf *);
void	weft_shim_ifnet_tap(if_t, struct mbuf *);
bool	weft_shim_ifnet_is_going(const if_t);
bool	weft_shim_ifnet_keeps(if_t, struct in_addr);
bool	weft_shim_ifnet_keeps6(if_t, struct in6_addr);
int	weft_shim_ifnet_unlist(struct if_clone *, if_t);
int	weft_shim_ifreq_mtu(const void *);
int	weft_shim_ifreq_reqcap(const void *);
void	weft_shim_ifmedia_init(struct ifmedia *, bool);

/* cloner.c; Rust: what a cloner does. */
enum weft_cloner {
	WEFT_CLONER_PAIR,
	WEFT_CLONER_L3,
	WEFT_CLONERS,
};
#define	WEFT_PAIR	"wpair"
bool	weft_pair_is_open(void);
ifc_match_f	weft_pair_match;
ifc_create_f	weft_pair_create;
ifc_destroy_f	weft_pair_destroy;
#define	WEFT_L3		"wip"
bool	weft_l3_is_open(void);
ifc_match_f	weft_l3_match;
ifc_create_f	weft_l3_create;
ifc_destroy_f	weft_l3_destroy;
void	weft_shim_cloners(enum weft_cloner, bool);

/* l3.c */
struct weft_address {
	uint8_t		bytes[16];	/* the first 4, of IPv4 */
	uint8_t		is_inet6;
};
u_int	weft_shim_ifnet_addresses(if_t, struct weft_address *, u_int);
u_int	weft_shim_ifnet_groups(if_t, void *, u_int);
void	weft_shim_ifnet_mac(if_t, void *);
int	weft_shim_ifnet_set_mac(if_t, const void *);
void	weft_shim_ifnet_set_mtu(if_t, int);
int	weft_shim_ifnet_send(if_t, struct mbuf *);
int	weft_shim_ifnet_all_groups(if_t, bool);
void	weft_shim_ifnet_opaque_addresses(if_t);
void	weft_shim_ifnet_link_local(if_t);
struct vnet *weft_shim_vnet_switch(struct vnet *);

/* jail.c */
int	weft_shim_jail_id(void);

/* worker.c */
int	weft_shim_worker_start(struct taskqueue **, const char *, u_int, bool);
void	weft_shim_worker_stop(struct taskqueue *);
void	weft_shim_worker_task_init(struct task *, task_fn_t *, void *);

/* bus.c; Rust: what a driver does. */
enum weft_driver {
	WEFT_DRIVER_VMX,
	WEFT_DRIVER_EM,
	WEFT_DRIVER_VTNET,
	WEFT_DRIVERS,
};
enum weft_power {
	WEFT_POWER_SHUTDOWN,
	WEFT_POWER_SUSPEND,
	WEFT_POWER_RESUME,
};
struct resource;
enum weft_probe {
	WEFT_PROBE_UNKNOWN,
	WEFT_PROBE_KNOWN,
	WEFT_PROBE_CLAIMED,
};
enum weft_probe weft_card_probe(device_t);
void	weft_cards_claim(void);
int	weft_card_attach(device_t);
int	weft_card_detach(device_t);
void	weft_card_power(device_t, enum weft_power);
int	weft_shim_driver(enum weft_driver, bool);
bool	weft_shim_is_booting(void);
void	weft_shim_devices_reclaim(bool (*)(device_t));
void	weft_shim_devices_hold(bool (*)(device_t));
void	weft_shim_devices_release(void);
enum weft_driver weft_shim_device_driver(device_t);
void	*weft_shim_device_softc(device_t);
void	weft_shim_device_set_softc(device_t, void *);
struct sysctl_oid_list *weft_shim_device_sysctls(device_t);
struct resource *weft_shim_bar_new(device_t, int, bool);
void	weft_shim_bar_free(device_t, struct resource *);
size_t	weft_shim_bar_size(struct resource *);
uint8_t	weft_shim_bar_read_1(struct resource *, size_t);
uint16_t weft_shim_bar_read_2(struct resource *, size_t);
uint32_t weft_shim_bar_read_4(struct resource *, size_t);
uint64_t weft_shim_bar_read_8(struct resource *, size_t);
void	weft_shim_bar_write_1(struct resource *, size_t, uint8_t);
void	weft_shim_bar_write_2(struct resource *, size_t, uint16_t);
void	weft_shim_bar_write_4(struct resource *, size_t, uint32_t);
void	weft_shim_bar_write_8(struct resource *, size_t, uint64_t);
struct resource *weft_shim_irq_new(device_t, int);
void	weft_shim_irq_free(device_t, struct resource *);
int	weft_shim_irq_set_up(device_t, struct resource *, void (*)(void *),
	    void *, const char *, void **);
void	weft_shim_irq_tear_down(device_t, struct resource *, void *);
int	weft_shim_irq_bind(device_t, struct resource *, int);
/* Of the kernel's, in sys/bus.h. */
const char *device_get_name(device_t);
int	device_get_unit(device_t);
const char *device_get_nameunit(device_t);
void	device_set_desc(device_t, const char *);

/* pci.c */
uint32_t weft_shim_pci_read(device_t, int, int);
void	weft_shim_pci_write(device_t, int, uint32_t, int);
int	weft_shim_pci_bus_master(device_t, bool);
struct weft_place {
	uint32_t	domain;
	uint32_t	bus;
	uint32_t	slot;
	uint32_t	function;
};
void	weft_shim_pci_place(device_t, struct weft_place *);
int	weft_shim_pci_capability(device_t, int, int, int *);
int	weft_shim_pci_messages(device_t, bool);
int	weft_shim_pci_messages_new(device_t, bool, int *);
void	weft_shim_pci_messages_free(device_t);
int	weft_shim_pci_msix_bar(device_t, bool);

/* dma.c */
struct weft_dma_limits {
	uint64_t	alignment;
	uint64_t	highest;	/* address */
	uint64_t	size;
	uint64_t	segment_size;
	uint32_t	segments;
};
struct weft_dma_segment {
	uint64_t	address;
	uint64_t	len;
};
enum weft_dma_sync {
	WEFT_DMA_BEFORE_READ,
	WEFT_DMA_BEFORE_WRITE,
	WEFT_DMA_AFTER_WRITE,
};
struct bus_dma_tag;
struct bus_dmamap;
int	weft_shim_dma_tag_new(device_t, const struct weft_dma_limits *,
	    struct bus_dma_tag **);
void	weft_shim_dma_tag_free(struct bus_dma_tag *);
int	weft_shim_dma_block_new(struct bus_dma_tag *, size_t, void **,
	    struct bus_dmamap **, uint64_t *);
void	weft_shim_dma_block_free(struct bus_dma_tag *, void *,
	    struct bus_dmamap *);
int	weft_shim_dma_map_new(struct bus_dma_tag *, struct bus_dmamap **);
void	weft_shim_dma_map_free(struct bus_dma_tag *, struct bus_dmamap *);
int	weft_shim_dma_map_load(struct bus_dma_tag *, struct bus_dmamap *,
	    struct mbuf *, struct weft_dma_segment *, int *);
int	weft_shim_dma_map_load_memory(struct bus_dma_tag *,
	    struct bus_dmamap *, void *, size_t, uint64_t *);
void	weft_shim_dma_direct(uintptr_t *, size_t *);
void	weft_shim_dma_map_unload(struct bus_dma_tag *, struct bus_dmamap *);
void	weft_shim_dma_map_sync(struct bus_dma_tag *, struct bus_dmamap *,
	    enum weft_dma_sync);

/*
 * netmap.c: netmap(4), whose kernel header no installation has: what is used of
 * its structures, with the rest as bytes.
 */
struct weft_netmap_adapter;
struct weft_netmap_slot {
	uint32_t buffer;
	uint16_t len;
	uint16_t flags;
	uint64_t pointer;
};
struct weft_netmap_buffer {
	void	*address;
	uint64_t physical;
};
struct weft_netmap_kring {
	char	*ring;
	uint32_t current;	/* hwcur */
	uint32_t hw_tail;	/* hwtail */
	uint32_t head;
	uint32_t cur;
	uint32_t tail;
	uint32_t flags;
	uint32_t mode;
	uint32_t pending_mode;
	uint32_t nslots;
	char	 bytes_44[244];
	struct weft_netmap_adapter *adapter;
	char	 bytes_296[212];
	uint32_t number;
	char	 bytes_512[72];
	int	(*sync)(struct weft_netmap_kring *, int);
	char	 bytes_592[176];
};
struct weft_netmap_adapter {
	uint32_t magic;
	uint32_t flags;
	int	 users;
	u_int	 rx_rings;
	u_int	 tx_rings;
	u_int	 host_rings[2];
	u_int	 tx_slots;
	u_int	 rx_slots;
	u_int	 bytes_36;
	struct weft_netmap_kring **tx;
	struct weft_netmap_kring **rx;
	char	 bytes_56[392];
	if_transmit_fn_t transmit;
	if_input_fn_t input;
	if_t	 ifp;
	void	(*end)(struct weft_netmap_adapter *);
	int	(*turn)(struct weft_netmap_adapter *, int);
	void	*interrupts;
	int	(*send)(struct weft_netmap_kring *, int);
	int	(*receive)(struct weft_netmap_kring *, int);
	char	 bytes_512[24];
	void	*make_rings;
	char	 bytes_544[40];
	int	 references;
	char	 bytes_588[20];
	struct weft_netmap_buffer *buffers;
	char	 bytes_616[8];
	uint32_t nbuffers;
	uint32_t buffer_size;
	char	 bytes_632[28];
	u_int	 rx_most;
	char	 name[64];
	char	 bytes_728[8];
};
#define	WEFT_NETMAP_MAGIC	0x52697a7a
#define	WEFT_NETMAP_NATIVE	16	/* NAF_NATIVE */
#define	WEFT_NETMAP_ON		32	/* NAF_NETMAP_ON */
#define	WEFT_NETMAP_RING_ON	1	/* NKR_NETMAP_ON */
#define	WEFT_NETMAP_NO_INTR	16	/* NKR_NOINTR */
#define	WEFT_NETMAP_CHANGED	1	/* NS_BUF_CHANGED */
#define	WEFT_NETMAP_FIRST	256	/* where a ring's slots are */
struct eventhandler_entry;
bool	weft_shim_netmap_find(void);
bool	weft_shim_netmap_is_maker(const void *);
int	weft_shim_netmap_attach(struct weft_netmap_adapter *);
void	weft_shim_netmap_detach(if_t);
u_int	weft_shim_netmap_outlived(void);
void	weft_shim_netmap_notify(if_t, u_int, bool);
void	weft_shim_netmap_commit(struct weft_netmap_adapter *, bool);
int	weft_shim_netmap_reset(struct weft_netmap_kring *);
void	weft_shim_netmap_intercept(struct weft_netmap_adapter *, bool);
bool	weft_shim_netmap_watch(void (*)(void *, if_t), void (*)(void *, if_t),
	    void *, struct eventhandler_entry **);
void	weft_shim_netmap_unwatch(struct eventhandler_entry **);

/* sysctl.c */
typedef int (*weft_sysctl_handler)(SYSCTL_HANDLER_ARGS);
struct sysctl_oid_list *weft_shim_sysctl_net(void);
struct sysctl_oid_list *weft_shim_sysctl_hw(void);
struct sysctl_oid_list *weft_shim_sysctl_children(struct sysctl_oid *);
void	*weft_shim_sysctl_subject(const struct sysctl_oid *);
bool	weft_shim_sysctl_is_write(const struct sysctl_req *);
int	weft_shim_sysctl_out(struct sysctl_req *, const void *, size_t);

/* fib.c */
u_int	weft_shim_numfibs(void);
void	weft_shim_fib4_datapath(u_int, struct fib_dp *);
void	weft_shim_fib6_datapath(u_int, struct fib_dp *);
struct rtentry *weft_shim_rib_match(struct rib_head *, void *);
struct rtentry *weft_shim_rib_wider(struct rtentry *);
void	weft_shim_rib_rlock(struct rib_head *, struct rm_priotracker *);
void	weft_shim_rib_runlock(struct rib_head *, struct rm_priotracker *);
u_int	weft_shim_rib_behind(const struct rib_head *);
u_int	weft_shim_rib_prefixes(const struct rib_head *);

/* nhop.c */
#define	WEFT_NHOP_WORDS	9
void	weft_shim_nhop_words(const struct nhop_object *, uint64_t *);
const struct weightened_nhop *weft_shim_nhop_members(
	    const struct nhop_object *, uint32_t *);
uint32_t weft_shim_nhop_group_uidx(const struct nhop_object *);

/* vnet.c */
struct weft_vnet {
	uint64_t	check_keys;		/* net.weft.fib.check */
	uint64_t	check_compared;
	uint64_t	check_mismatches;
	uint64_t	check6_compared;
	uint64_t	check6_mismatches;
};
struct weft_vnet *weft_shim_vnet_state(void);
bool	weft_shim_in_vnet(void);
const void *weft_shim_curvnet(void);

/* filter.c; Rust: in curvnet, filters can be linked from now on, or no more. */
void	weft_shim_filters(bool);
void	weft_filter_attach(void);
void	weft_filter_detach(void);

#endif /* !_WEFT_SHIM_H_ */
