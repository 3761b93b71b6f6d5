/* SPDX-License-Identifier: MIT */
/*
 * The 8254 (Intel 8254 data sheet, "Mode Definitions", "Read-Back Command").
 *
 * No counter ticks: a channel is its load time and count, and everything a
 * guest can see (count, OUT) follows from the time since. Only channel 0 has a
 * timer, for its rising edges of OUT.
 *
 * Reinjection: a guest that counts ticks must get all of them. pending counts
 * those it has not acknowledged, irq_ack says that none is under way; each
 * acknowledgement sends the next. Unmasking IRQ 0 starts afresh, for ticks
 * that nobody could take. Without reinjection late ticks are dropped.
 *
 * The lock is dropped before the GSI is driven: chips take their own locks and
 * call back (mask notifiers) while they hold them.
 *
 * Deviations: BCD counts down in decimal but a count is decoded when loaded;
 * a mode 0 channel does not stop between the two bytes of a count; the null
 * count flag always reads 0.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/pvclock.h"
#include "irqchip/irqchip.h"

#define NSEC_PER_SEC	1000000000ull
#define PENDING_MAX	1000000u
#define SPEAKER_PORT	0x61
#define PIT_BASE	0x40

/* Values of rw_mode, read_state, write_state and count_latched. */
enum { RW_LSB = 1, RW_MSB, RW_WORD0, RW_WORD1 };

static uint64_t now_ns(void)
{
	return ktime_get_ns();
}

/* ---- what a channel shows ---- */

static uint32_t modulus(const struct kvm_pit_channel_state *c)
{
	return c->bcd ? 10000 : 0x10000;
}

/* Does a closed gate stop the count in this mode? */
static bool gate_stops(const struct kvm_pit_channel_state *c)
{
	return c->mode != 1 && c->mode != 5;
}

/* Clocks since the count was loaded. */
static uint64_t elapsed(struct kvm_pit *pit, int ch)
{
	struct kvm_pit_channel_state *c = &pit->ch[ch];
	uint64_t now = now_ns();

	if (!c->gate && gate_stops(c))
		now = pit->gate_off[ch];
	if ((int64_t)now <= c->count_load_time)
		return 0;
	return mul_u64_u64_div_u64(now - c->count_load_time, KVM_PIT_FREQ,
				   NSEC_PER_SEC);
}

static uint16_t to_bcd(unsigned v)
{
	return v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 |
	       v / 1000 % 10 << 12;
}

static unsigned from_bcd(uint16_t v)
{
	return (v & 15) + (v >> 4 & 15) * 10 + (v >> 8 & 15) * 100 +
	       (v >> 12) * 1000;
}

static uint16_t pit_get_count(struct kvm_pit *pit, int ch)
{
	struct kvm_pit_channel_state *c = &pit->ch[ch];
	uint64_t d = elapsed(pit, ch);
	uint64_t v;

	switch (c->mode) {
	case 2:
		v = c->count - d % c->count;
		break;
	case 3:		/* counts by two */
		v = c->count - 2 * d % c->count;
		break;
	default:
		v = c->count + modulus(c) - d % modulus(c);
	}
	v %= modulus(c);
	return c->bcd ? to_bcd(v) : v;
}

static bool pit_get_out(struct kvm_pit *pit, int ch)
{
	struct kvm_pit_channel_state *c = &pit->ch[ch];
	uint64_t d = elapsed(pit, ch);

	switch (c->mode) {
	case 0:
	case 1:
		return d >= c->count;
	case 2:
		return d % c->count != c->count - 1;
	case 3:
		return !c->gate || d % c->count < (c->count + 1) / 2;
	case 4:
	case 5:
		return d != c->count;
	default:
		return true;
	}
}

/* ---- channel 0's timer ---- */

/* False, and somebody else's pulse is followed by another: a rising edge needs the low
 * level of the one before. */
static bool begin_pulse(struct kvm_pit *pit)
{
	bool mine;

	pthread_mutex_lock(&pit->lock);
	mine = !pit->pulsing;
	pit->once_more |= !mine;
	pit->pulsing = true;
	pthread_mutex_unlock(&pit->lock);
	return mine;
}

/* True: another one is wanted. */
static bool end_pulse(struct kvm_pit *pit)
{
	bool more;

	pthread_mutex_lock(&pit->lock);
	more = pit->pulsing = pit->once_more;
	pit->once_more = false;
	pthread_mutex_unlock(&pit->lock);
	return more;
}

/* The acknowledgement, which sends the next tick, may come before the level is low. */
static void inject(struct kvm_pit *pit)
{
	if (!begin_pulse(pit))
		return;
	do {
		kvm_set_irq(pit->ic, KVM_PIT_IRQ_SOURCE_ID, 0, true);
		kvm_set_irq(pit->ic, KVM_PIT_IRQ_SOURCE_ID, 0, false);
	} while (end_pulse(pit));
}

static void arm(struct kvm_pit *pit)
{
	int r = hrtimer_start(&pit->timer, pit->target);

	if (r)
		log_error("i8254: cannot arm the timer (%d)", r);
}

/* Accounts for the expiry; true: a tick goes to the guest now. */
static bool expire(struct kvm_pit *pit)
{
	uint64_t now = now_ns(), ticks = 1;

	if (!pit->armed)
		return false;
	if (now < pit->target) {	/* reloaded meanwhile */
		arm(pit);
		return false;
	}
	if (pit->period) {
		ticks += (now - pit->target) / pit->period;
		pit->target += ticks * pit->period;
		arm(pit);
	} else {
		pit->armed = false;
	}
	if (!pit->reinject)
		return true;
	pit->pending = MIN(pit->pending + ticks, (uint64_t)PENDING_MAX);
	if (!pit->irq_ack)
		return false;
	pit->irq_ack = false;
	return true;
}

static void pit_timer_fn(struct hrtimer *t)
{
	struct kvm_pit *pit = container_of(t, struct kvm_pit, timer);
	bool tick;

	pthread_mutex_lock(&pit->lock);
	tick = expire(pit);
	pthread_mutex_unlock(&pit->lock);
	if (tick)
		inject(pit);
}

static void pit_ack_irq(struct kvm_irq_ack_notifier *n)
{
	struct kvm_pit *pit = container_of(n, struct kvm_pit, ack_notifier);
	bool again;

	pthread_mutex_lock(&pit->lock);
	if (pit->pending)
		pit->pending--;
	again = pit->reinject && pit->pending;
	pit->irq_ack = !again;
	pthread_mutex_unlock(&pit->lock);
	if (again)
		inject(pit);
}

static void reset_reinject(struct kvm_pit *pit)
{
	pit->pending = 0;
	pit->irq_ack = true;
}

void kvm_pit_mask_notify(struct kvm_pit *pit, bool masked)
{
	if (masked)
		return;
	pthread_mutex_lock(&pit->lock);
	reset_reinject(pit);
	pthread_mutex_unlock(&pit->lock);
}

void kvm_pit_set_reinject(struct kvm_pit *pit, bool reinject)
{
	pthread_mutex_lock(&pit->lock);
	if (reinject && !pit->reinject)
		reset_reinject(pit);
	pit->reinject = reinject;
	pthread_mutex_unlock(&pit->lock);
}

static void stop_timer(struct kvm_pit *pit)
{
	pit->armed = false;
	hrtimer_try_to_cancel(&pit->timer);
}

/* Rising edges of OUT: once in modes 0 and 4, every count in 2 and 3. */
static void start_timer(struct kvm_pit *pit)
{
	struct kvm_pit_channel_state *c = &pit->ch[0];
	uint64_t ns = c->count * NSEC_PER_SEC / KVM_PIT_FREQ;

	stop_timer(pit);
	if (pit->flags & KVM_PIT_FLAGS_HPET_LEGACY)
		return;
	switch (c->mode) {
	case 0:
	case 4:
		pit->period = 0;
		break;
	case 2:
	case 3:
		ns = MAX(ns, min_timer_period_us * 1000ull);
		pit->period = ns;
		break;
	default:	/* 1 and 5 wait for a gate that never rises */
		return;
	}
	reset_reinject(pit);
	pit->target = now_ns() + ns;
	pit->armed = true;
	arm(pit);
}

/* ---- loading ---- */

static void load_count(struct kvm_pit *pit, int ch, uint16_t val)
{
	struct kvm_pit_channel_state *c = &pit->ch[ch];
	uint32_t count = c->bcd ? from_bcd(val) : val;

	c->count = count && count <= modulus(c) ? count : modulus(c);
	/* Modes 1 and 5 start at the gate's edge, not here. */
	if (gate_stops(c)) {
		c->count_load_time = now_ns();
		pit->gate_off[ch] = c->count_load_time;
	}
	if (ch == 0)
		start_timer(pit);
}

static void set_gate(struct kvm_pit *pit, int ch, bool gate)
{
	struct kvm_pit_channel_state *c = &pit->ch[ch];
	uint64_t now = now_ns();

	if (gate == !!c->gate)
		return;
	if (!gate)
		pit->gate_off[ch] = now;
	else if (c->mode == 0 || c->mode == 4)
		c->count_load_time += now - pit->gate_off[ch];
	else
		c->count_load_time = now;
	c->gate = gate;
}

static void latch_count(struct kvm_pit *pit, int ch)
{
	struct kvm_pit_channel_state *c = &pit->ch[ch];

	if (c->count_latched)
		return;
	c->latched_count = pit_get_count(pit, ch);
	c->count_latched = c->rw_mode;
}

static void latch_status(struct kvm_pit *pit, int ch)
{
	struct kvm_pit_channel_state *c = &pit->ch[ch];

	if (c->status_latched)
		return;
	c->status = pit_get_out(pit, ch) << 7 | (c->rw_mode & 3) << 4 |
		    (c->mode & 7) << 1 | (c->bcd & 1);
	c->status_latched = 1;
}

/* ---- ports ---- */

static void read_back(struct kvm_pit *pit, uint8_t val)
{
	for (int ch = 0; ch < 3; ch++) {
		if (!(val & 2 << ch))
			continue;
		if (!(val & 0x20))
			latch_count(pit, ch);
		if (!(val & 0x10))
			latch_status(pit, ch);
	}
}

static void write_control(struct kvm_pit *pit, uint8_t val)
{
	struct kvm_pit_channel_state *c;
	int ch = val >> 6, access = val >> 4 & 3;

	if (ch == 3) {
		read_back(pit, val);
		return;
	}
	if (!access) {
		latch_count(pit, ch);
		return;
	}
	c = &pit->ch[ch];
	c->rw_mode = c->read_state = c->write_state = access;
	c->count_latched = c->status_latched = 0;
	c->mode = val >> 1 & 7;
	if (c->mode > 5)	/* 6 and 7 are 2 and 3 */
		c->mode -= 4;
	c->bcd = val & 1;
	c->count = MIN(c->count, modulus(c));
	if (ch == 0)
		stop_timer(pit);
}

static void write_channel(struct kvm_pit *pit, int ch, uint8_t val)
{
	struct kvm_pit_channel_state *c = &pit->ch[ch];

	switch (c->write_state) {
	case RW_LSB:
		load_count(pit, ch, val);
		break;
	case RW_MSB:
		load_count(pit, ch, val << 8);
		break;
	case RW_WORD0:
		c->write_latch = val;
		c->write_state = RW_WORD1;
		break;
	case RW_WORD1:
		c->write_state = RW_WORD0;
		load_count(pit, ch, c->write_latch | val << 8);
		break;
	}
}

/* The byte of @count that @state asks for; moves a word's state on. */
static uint8_t next_byte(uint8_t *state, uint16_t count, uint8_t after_word)
{
	switch (*state) {
	case RW_MSB:
		return count >> 8;
	case RW_WORD0:
		*state = RW_WORD1;
		return count;
	case RW_WORD1:
		*state = after_word;
		return count >> 8;
	default:
		return count;
	}
}

static uint8_t read_channel(struct kvm_pit *pit, int ch)
{
	struct kvm_pit_channel_state *c = &pit->ch[ch];
	uint8_t v;

	if (c->status_latched) {
		c->status_latched = 0;
		return c->status;
	}
	if (!c->count_latched)
		return next_byte(&c->read_state, pit_get_count(pit, ch),
				 RW_WORD0);
	v = next_byte(&c->count_latched, c->latched_count, 0);
	if (c->count_latched == RW_LSB || c->count_latched == RW_MSB)
		c->count_latched = 0;
	return v;
}

static int pit_write(struct kvm_vcpu *vcpu, struct kvm_io_device *dev,
		     gpa_t addr, int len, const void *val)
{
	struct kvm_pit *pit = container_of(dev, struct kvm_pit, dev);
	const uint8_t *v = val;

	pthread_mutex_lock(&pit->lock);
	for (int i = 0; i < len; i++) {
		if (((addr + i) & 3) == 3)
			write_control(pit, v[i]);
		else
			write_channel(pit, (addr + i) & 3, v[i]);
	}
	pthread_mutex_unlock(&pit->lock);
	return 0;
}

static int pit_read(struct kvm_vcpu *vcpu, struct kvm_io_device *dev,
		    gpa_t addr, int len, void *val)
{
	struct kvm_pit *pit = container_of(dev, struct kvm_pit, dev);
	uint8_t *v = val;

	pthread_mutex_lock(&pit->lock);
	for (int i = 0; i < len; i++) {
		/* The control register cannot be read. */
		if (((addr + i) & 3) == 3)
			v[i] = 0;
		else
			v[i] = read_channel(pit, (addr + i) & 3);
	}
	pthread_mutex_unlock(&pit->lock);
	return 0;
}

static int speaker_write(struct kvm_vcpu *vcpu, struct kvm_io_device *dev,
			 gpa_t addr, int len, const void *val)
{
	struct kvm_pit *pit = container_of(dev, struct kvm_pit, speaker_dev);
	uint8_t v = *(const uint8_t *)val;

	pthread_mutex_lock(&pit->lock);
	pit->speaker_data_on = v >> 1 & 1;
	set_gate(pit, 2, v & 1);
	pthread_mutex_unlock(&pit->lock);
	return 0;
}

static int speaker_read(struct kvm_vcpu *vcpu, struct kvm_io_device *dev,
			gpa_t addr, int len, void *val)
{
	struct kvm_pit *pit = container_of(dev, struct kvm_pit, speaker_dev);
	/* The refresh request toggles every 15 us; BIOSes time by it. */
	unsigned refresh = now_ns() / 15000 & 1;

	memset(val, 0, len);
	pthread_mutex_lock(&pit->lock);
	*(uint8_t *)val = pit->speaker_data_on << 1 | !!pit->ch[2].gate |
			  pit_get_out(pit, 2) << 5 | refresh << 4;
	pthread_mutex_unlock(&pit->lock);
	return 0;
}

static const struct kvm_io_device_ops pit_ops = { pit_read, pit_write };
static const struct kvm_io_device_ops speaker_ops = {
	speaker_read, speaker_write
};

/* ---- life and state ---- */

void kvm_pit_reset(struct kvm_pit *pit)
{
	pthread_mutex_lock(&pit->lock);
	stop_timer(pit);
	memset(pit->ch, 0, sizeof(pit->ch));
	pit->flags = 0;
	pit->speaker_data_on = false;
	pit->period = 0;
	for (int ch = 0; ch < 3; ch++) {
		pit->ch[ch].mode = 0xff;	/* none yet */
		pit->ch[ch].gate = ch != 2;
		load_count(pit, ch, 0);
	}
	reset_reinject(pit);
	pthread_mutex_unlock(&pit->lock);
}

static int register_ports(struct kvm_irqchips *ic, struct kvm_pit *pit,
			  bool speaker)
{
	struct kvm_io_bus *bus = &ic->bus[KVM_PIO_BUS];
	int r = kvm_io_bus_register_dev(bus, PIT_BASE, 4, &pit->dev);

	if (!r && speaker)
		r = kvm_io_bus_register_dev(bus, SPEAKER_PORT, 1,
					    &pit->speaker_dev);
	if (r)
		kvm_io_bus_unregister_dev(bus, &pit->dev);
	return r;
}

int kvm_pit_create(struct kvm_irqchips *ic, uint32_t flags)
{
	struct kvm_pit *pit;
	int r;

	if (ic->pit)
		return -EEXIST;
	if (!ic->pic)
		return -ENOENT;
	pit = calloc(1, sizeof(*pit));
	if (!pit)
		return -ENOMEM;
	pit->ic = ic;
	pit->reinject = true;
	pit->dev.ops = &pit_ops;
	pit->speaker_dev.ops = &speaker_ops;
	pit->ack_notifier.irq_acked = pit_ack_irq;
	pthread_mutex_init(&pit->lock, NULL);
	hrtimer_init(&pit->timer, pit_timer_fn);
	kvm_pit_reset(pit);
	r = register_ports(ic, pit, flags & KVM_PIT_SPEAKER_DUMMY);
	if (r) {
		pthread_mutex_destroy(&pit->lock);
		free(pit);
		return r;
	}
	kvm_register_irq_ack_notifier(ic, &pit->ack_notifier);
	ic->pit = pit;
	return 0;
}

void kvm_pit_destroy(struct kvm_irqchips *ic)
{
	struct kvm_io_bus *bus = &ic->bus[KVM_PIO_BUS];
	struct kvm_pit *pit = ic->pit;

	if (!pit)
		return;
	kvm_io_bus_unregister_dev(bus, &pit->dev);
	kvm_io_bus_unregister_dev(bus, &pit->speaker_dev);
	kvm_unregister_irq_ack_notifier(ic, &pit->ack_notifier);
	ic->pit = NULL;
	pthread_mutex_lock(&pit->lock);
	pit->armed = false;
	pthread_mutex_unlock(&pit->lock);
	hrtimer_cancel(&pit->timer);
	pthread_mutex_destroy(&pit->lock);
	free(pit);
}

void kvm_pit_get_state(struct kvm_pit *pit, struct kvm_pit_state2 *s)
{
	memset(s, 0, sizeof(*s));
	pthread_mutex_lock(&pit->lock);
	memcpy(s->channels, pit->ch, sizeof(s->channels));
	s->flags = pit->flags;
	if (pit->speaker_data_on)
		s->flags |= KVM_PIT_FLAGS_SPEAKER_DATA_ON;
	pthread_mutex_unlock(&pit->lock);
}

static void sanitize_channel(struct kvm_pit_channel_state *c)
{
	c->bcd = !!c->bcd;
	if (!c->count || c->count > modulus(c))
		c->count = modulus(c);
	if (c->count_latched > RW_WORD1)
		c->count_latched = 0;
	c->gate = !!c->gate;
	/* Another host's clock may be ahead of this one's. */
	if (c->count_load_time < 0 || c->count_load_time > (int64_t)now_ns())
		c->count_load_time = now_ns();
	c->status_latched = !!c->status_latched;
}

void kvm_pit_set_state(struct kvm_pit *pit, const struct kvm_pit_state2 *s)
{
	pthread_mutex_lock(&pit->lock);
	memcpy(pit->ch, s->channels, sizeof(pit->ch));
	pit->flags = s->flags & KVM_PIT_FLAGS_HPET_LEGACY;
	pit->speaker_data_on = s->flags & KVM_PIT_FLAGS_SPEAKER_DATA_ON;
	for (int ch = 0; ch < 3; ch++) {
		sanitize_channel(&pit->ch[ch]);
		pit->gate_off[ch] = now_ns();
	}
	pit->ch[0].gate = pit->ch[1].gate = 1;
	pit->ch[0].count_load_time = now_ns();
	start_timer(pit);
	pthread_mutex_unlock(&pit->lock);
}
