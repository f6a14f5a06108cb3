/* Indexer acknowledgement of an HTTP Event Collector: requests are numbered by channel, and whoever asks is told of each,
 * once, whether its evidence is on the disk. One table for all workers, as the question may come in on another connection
 * than the request; locked, for microseconds, and used by requests of tokens with `ack` only.
 *
 * Channels are forgotten at the end of the process: what was not acknowledged by then is sent again. */
#ifndef ISOD_INGEST_HEC_ACK_H
#define ISOD_INGEST_HEC_ACK_H

#include <pthread.h>
#include <stdbool.h>

#include "base/map.h"

#define HEC_CHANNELS_MAX 1000 /* of a listener */
/* Of a channel: numbers given out that nobody has asked for yet, or that are not on the disk. */
#define HEC_ACKS_MAX 10000
/* A channel that is not used for so long makes room for another one, as with Splunk. */
#define HEC_CHANNEL_IDLE_S 600

struct hec_acks {
	pthread_mutex_t lock;
	struct map channels; /* locked: struct channel by TOKEN/CHANNEL */
};

void hec_acks_init(struct hec_acks *a);
void hec_acks_release(struct hec_acks *a);

/* A number for a request of that channel. 0; -EBUSY: too many are outstanding or there are too many channels. */
int hec_acks_take(struct hec_acks *a, struct str channel, uint64_t now_mono, uint64_t *ret_id);
/* The request of that number is on the disk. */
void hec_acks_durable(struct hec_acks *a, struct str channel, uint64_t id);
/* Is it? True once: the number is forgotten then. */
bool hec_acks_ask(struct hec_acks *a, struct str channel, uint64_t id, uint64_t now_mono);
/* Numbers that are outstanding, of all channels. */
size_t hec_acks_count(struct hec_acks *a);

#endif
