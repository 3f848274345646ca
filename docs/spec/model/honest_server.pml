/* The pairwise protocol with a server that follows it, docs/spec/pairwise.md sections 6 and 7: the result is the sum of the
   contributors, or the round aborts, whatever the network repeats, delays or loses, clients restart, or corrupt clients answer.

   Uploads are symbols. An upload of client i is two chunks and a header, in one of two versions (a client that restarts may send a
   second one); its vector is x_i, its self mask, and a mask for each pair. `added` counts how often a vector is in the sum, and what
   is left of the masks after the subtraction is worked out from that. Given by the runner:
     N HONEST T M      clients, all participants; the honest ones come first
     NO_rule           take that rule from the honest parties */

#define BIT(x)     (1 << (x))
#define HAS(s, x)  (((s) >> (x)) & 1)
#define SIZE(s)    (((s) & 1) + (((s) >> 1) & 1) + (((s) >> 2) & 1) + (((s) >> 3) & 1) + (((s) >> 4) & 1))

mtype = { masked, unmask, released, aborted };
mtype phase = masked;

/* -- clients and network ------------------------------------------------------------------------------------------------------------ */
byte sent[N];        /* versions of the upload that are on the network, as bits */
bit model[N];        /* which it trained on */

/* -- the server -------------------------------------------------------------------------------------------------------------------- */
byte first[N];       /* version of the first and second chunk that it holds, plus one; 0 for none */
byte second[N];
byte added[N];       /* how often the vector was added to the sum of its model */
bit pure[N];         /* what was added was one version, the one of the header */
byte survivors, answered;
bit chosen;           /* the model of the survivors */
byte wrong[N];       /* for each target, holders that sent another share than they were dealt */

bit inexact, mixed_models, too_few, below_threshold;

byte i, x, y, v, zeros, ones, residue, lanes, open;
bit ok;

#ifdef NO_SAME_BYTES
#define NEXT_VERSION  1
#else
#define NEXT_VERSION  0   /* an update of a restarted client is the same bytes */
#endif
#ifdef NO_DUPLICATES
#define NEW_CHUNK(c)  true        /* a later chunk replaces an earlier one, and completes the upload again */
#define NEW_UPLOAD    (added[i] < 2)
#else
#define NEW_CHUNK(c)  (c[i] == 0)
#define NEW_UPLOAD    (added[i] == 0)
#endif
#ifdef NO_TAG
#define TAG_OK        true
#else
#define TAG_OK        (first[i] == v + 1 && second[i] == v + 1)
#endif
#ifdef NO_DEADLINE
#define OPEN          (phase == masked || phase == unmask)
#else
#define OPEN          (phase == masked)
#endif
#ifdef NO_CONTEXT
#define GROUP(i)      0
#else
#define GROUP(i)      model[i]
#endif
#ifdef NO_MIN_CLIENTS
#define ENOUGH        1
#else
#define ENOUGH        M
#endif

inline client() { i = 0; do :: i < N - 1 -> i++ :: break od }

/* The update leaves, or leaves again after a restart. A corrupt client may send two that differ in any case. */
inline submit() {
	client();
	if
	:: sent[i] == 0 -> if :: model[i] = 1 :: skip fi; sent[i] = 1
	:: sent[i] != 0 && i < HONEST -> sent[i] = sent[i] | BIT(NEXT_VERSION)
	:: sent[i] != 0 && i >= HONEST -> sent[i] = sent[i] | 2
	fi;
	i = 0
}

/* The network hands over a piece of an upload that was sent at some time. */
inline arrive() {
	client();
	if :: v = 1 :: skip fi;
	if
	:: HAS(sent[i], v) && OPEN ->
		if
		:: NEW_CHUNK(first) -> first[i] = v + 1
		:: NEW_CHUNK(second) -> second[i] = v + 1
		:: first[i] != 0 && second[i] != 0 && TAG_OK && NEW_UPLOAD ->
			added[i]++; pure[i] = first[i] == v + 1 && second[i] == v + 1
		:: else
		fi
	:: else
	fi;
	v = 0; i = 0
}

inline close_masked() {
	zeros = 0; ones = 0;
	do
	:: i < N ->
		if
		:: added[i] != 0 && GROUP(i) == 0 -> zeros = zeros | BIT(i)
		:: added[i] != 0 && GROUP(i) == 1 -> ones = ones | BIT(i)
		:: else
		fi;
		i++
	:: else -> break
	od;
	if
	:: SIZE(zeros) > SIZE(ones) -> survivors = zeros
	:: SIZE(zeros) < SIZE(ones) -> survivors = ones; chosen = 1
	:: else   /* a tie */
	fi;
	phase = (SIZE(survivors) >= ENOUGH && survivors != 0 -> unmask : aborted);
	i = 0; zeros = 0; ones = 0
}

/* A survivor answers. A corrupt one sends the share it was dealt or another, for each target. */
inline answer() {
	client();
	if
	:: HAS(survivors, i) && !HAS(answered, i) ->
		answered = answered | BIT(i);
		if
		:: i >= HONEST ->
			do
			:: x < N - 1 -> if :: wrong[x] = wrong[x] | BIT(i) :: skip fi; x++
			:: x == N - 1 -> if :: wrong[x] = wrong[x] | BIT(i) :: skip fi; break
			od
		:: else
		fi
	:: else
	fi;
	x = 0; i = 0
}

/* With which shares is the secret of target i rebuilt: any T of those answered (T fewer one, if only so many hold it). */
#define HOLDERS(i)  (HAS(survivors, i) -> answered : answered & ~BIT(i))
#define KEY_T       (T < N - 1 -> T : N - 1)
#define WANTED(i)   (HAS(survivors, i) -> T : KEY_T)
#ifdef NO_COMMITMENTS
#define RIGHT(i)    (SIZE(HOLDERS(i)) >= WANTED(i) && (wrong[i] & answered) == 0)   /* some share in use may be a wrong one */
#define REBUILT(i)  (SIZE(HOLDERS(i)) >= WANTED(i))
#else
#define RIGHT(i)    (SIZE(HOLDERS(i) & ~wrong[i]) >= WANTED(i))
#define REBUILT(i)  RIGHT(i)
#endif
#ifdef NO_THRESHOLD
#define ANSWERS_OK  (answered != 0)
#else
#define ANSWERS_OK  (SIZE(answered) >= T && ok)
#endif

/* Masks that are left make the lanes random: they count right with probability 2^-64, taken here as never. */
#ifdef NO_LANES
#define LANES_OK  true
#else
#define LANES_OK  (residue == 0 && lanes == SIZE(survivors))
#endif
#ifdef NO_CONTEXT
#define GROUP_OF_SUM  0
#else
#define GROUP_OF_SUM  chosen
#endif

inline close_unmask() {
	ok = 1; open = 0; residue = 0; lanes = 0;
	do
	:: i < N ->
		ok = ok && REBUILT(i);
		if :: RIGHT(i) -> open = open | BIT(i) :: else fi;
		i++
	:: else -> break
	od;
	i = 0;
	/* Only vectors of the survivors' model are in this sum, late ones included. */
	do
	:: i < N ->
		if
		:: added[i] != 0 && (HAS(survivors, i) || GROUP(i) == GROUP_OF_SUM) ->
			lanes = lanes + added[i];
			residue = residue || added[i] != HAS(survivors, i)   /* self masks */
		:: else
		fi;
		residue = residue || !HAS(open, i);   /* a secret that is not the dealt one takes away another mask */
		i++
	:: else -> break
	od;
	i = 0;
	if
	:: ANSWERS_OK && LANES_OK ->
		phase = released;
		inexact = residue != 0 || lanes != SIZE(survivors);
		do
		:: i < N ->
			if
			:: HAS(survivors, i) && i < HONEST -> inexact = inexact || !pure[i]
			:: else
			fi;
			if
			:: HAS(survivors, i) -> zeros = zeros | BIT(model[i])
			:: else
			fi;
			i++
		:: else -> break
		od;
		mixed_models = zeros == 3;
		too_few = SIZE(survivors) < M;
		below_threshold = SIZE(answered) < T
	:: else -> phase = aborted
	fi;
	i = 0; zeros = 0; open = 0; lanes = 0; residue = 0; ok = 0
}
#ifndef BROKEN
#define BROKEN  (inexact || mixed_models || too_few || below_threshold)
#endif

init {
	do
	:: atomic {
		if
		:: phase == masked || phase == unmask ->
			if
			:: true -> submit()
			:: true -> arrive()
			:: phase == masked -> d_step { close_masked() }
			:: phase == unmask -> answer()
			:: phase == unmask -> d_step { close_unmask() }
			fi
		fi;
		assert(!(BROKEN))
	}
	:: phase == released || phase == aborted -> break
	od
}
