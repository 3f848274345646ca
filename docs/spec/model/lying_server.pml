/* The pairwise protocol against a server that lies, docs/spec/pairwise.md sections 4 to 9, for the full graph and few clients.

   The one process is the server. It owns the network and the corrupt clients, so each of its steps is a request to an honest client,
   chosen freely; the client answers or refuses by its rules. A step that is refused changes nothing. What the server knows is kept
   as which holders' shares of which secret it has; what follows from that is worked out after every answer, in `judge`.

   Clients are 0 .. HONEST-1 honest, then corrupt ones. A set of clients is a byte, bit i for client i. Given by the runner:
     N HONEST T M PMAX MIN_COHORT G     cohort, honest clients, threshold, min_clients, max_participants, min_cohort, engine's bound
     ROUNDS CONTEXTS                    rounds of the batch, different models that the server may hand out
     SETUPS ROLLBACK                    let the server also lie about the cohort and the members; let clients be restored from old snapshots
     IN_TURN                            requests go to one client after another (see the page: nothing is lost by that)
     NO_rule                            take that rule from the honest clients */

#define BIT(x)     (1 << (x))
#define HAS(s, x)  (((s) >> (x)) & 1)
#define SIZE(s)    (((s) & 1) + (((s) >> 1) & 1) + (((s) >> 2) & 1) + (((s) >> 3) & 1) + (((s) >> 4) & 1) + (((s) >> 5) & 1))
#define EVERYONE   (BIT(N) - 1)
#define GOOD       (BIT(HONEST) - 1)
#define BAD        (EVERYONE & ~GOOD)
#define AT(r, i)   ((r) * HONEST + (i))
#define SLOTS      (ROUNDS * HONEST)
#define SAME_SETUP(i, j)  (cohort[i] == cohort[j] && faked[i] == faked[j])
#define VARIANT    64  /* a second setup under the same names: a corrupt client signed two advertisements */

/* -- what an honest client has done. `known_` is whether its state remembers that, `kept_` whether its ledger does ----------------- */
byte cohort[HONEST];        /* the setup that it dealt in, 0 before */
byte members[HONEST];       /* the members of its delivery, 0 before */
byte faked[HONEST];         /* in whose name the server's own keys were in its setup */
bit lowered[HONEST];        /* it dealt with another threshold than Params say */
byte current[HONEST];       /* the round in progress */
byte list[SLOTS];           /* participants in the header of its update, 0 if none left */
byte under[SLOTS];          /* members in it */
bit context[SLOTS];         /* model in it */
byte account_list[SLOTS];   /* participants, survivors, members and model of the account that it signed first, 0 if none */
byte account_alive[SLOTS];
byte account_under[SLOTS];
bit account_model[SLOTS];
bit known_list[SLOTS], known_answer[SLOTS];
bit kept_list[SLOTS], kept_answer[SLOTS];

/* -- what the server holds: shares of honest clients' secrets, by honest holder --------------------------------------------------- */
byte seeds[SLOTS];
byte keys[SLOTS];

/* -- verdicts --------------------------------------------------------------------------------------------------------------------- */
bit opened_both_ways, opened_too_few, opened_mixed_models, opened_below_threshold;
bit two_uploads, left_out, two_accounts;

/* -- scratch, zero between steps -------------------------------------------------------------------------------------------------- */
byte i, r, b, who, alive, shown, alike, signers, x, y, seed_open, key_open;
bit ok, model, again;

#ifdef IN_TURN
byte turn;
#ifdef NO_CLOSED
#define STEPS 5   /* without that rule an update may follow an answer */
#else
#define STEPS 3
#endif
#endif

/* Pick any set between `least` and `most`. */
inline pick(result, least, most) {
	result = least; b = 0;
	do
	:: b < N ->
		if
		:: HAS(most, b) && !HAS(least, b) ->
			if :: result = result | BIT(b) :: skip fi
		:: else
		fi;
		b++
	:: else -> break
	od;
	b = 0
}

/* -- rules of the client that several steps use ------------------------------------------------------------------------------------ */

#define SENT(a)      (known_list[a] || kept_list[a])
#define ANSWERED(a)  (known_answer[a] || kept_answer[a])
#ifdef NO_LEDGER
#define LEDGER  0
#else
#define LEDGER  1
#endif

#ifdef NO_FLOOR
#define ROUND_OK  true
#else
#define ROUND_OK  (r >= current[i])
#endif

#ifdef NO_CAP
#define LIST_OK  (SIZE(who) >= M && (who & ~members[i]) == 0)
#else
#define LIST_OK  (SIZE(who) >= M && SIZE(who) <= PMAX && (who & ~members[i]) == 0)
#endif

#ifdef NO_CLOSED
#define CLOSED(a)  false
#else
#define CLOSED(a)  ANSWERED(a)
#endif
#ifdef NO_ONCE
#define REPEATED(a)  false
#else
#define REPEATED(a)  ANSWERED(a)
#endif

inline enter_round() {
	if
	:: r != current[i] ->
#ifdef NO_FLOOR
		known_list[AT(current[i], i)] = 0; known_answer[AT(current[i], i)] = 0;   /* the view of one round only */
		kept_list[AT(current[i], i)] = 0; kept_answer[AT(current[i], i)] = 0;     /* and the record of one */
#endif
		current[i] = r
	:: else
	fi
}

/* A header of client x that client i takes. A header of its own is the one that it sent. */
#ifdef NO_SIGNED_HEADERS
#define HEADER(x)  (x != i || list[AT(r, x)] != 0)
#else
#define HEADER(x)  (list[AT(r, x)] != 0 && SAME_SETUP(x, i) && under[AT(r, x)] == members[i] && SAME_MODEL(x) && SAME_LIST(x))
#endif
#ifdef NO_CONTEXT
#define SAME_MODEL(x)  true
#else
#define SAME_MODEL(x)  (context[AT(r, x)] == model)
#endif
#ifdef NO_LIST_IN_HEADERS
#define SAME_LIST(x)  true
#else
#define SAME_LIST(x)  (list[AT(r, x)] == who)
#endif

/* Who can be shown to client i as a survivor: with a header bound to its own setup, members, list `who` and context `model`. */
inline find_headers(result) {
	result = who & BAD;   /* corrupt clients sign whatever serves */
#ifdef NO_SURVIVORS_ASKED
	result = members[i] & BAD;
#endif
	x = 0;
	do
	:: x < HONEST ->
		if
		:: HAS(who, x) && HEADER(x) -> result = result | BIT(x)
		:: else
		fi;
		x++
	:: else -> break
	od;
	x = 0
}

/* -- the four requests ------------------------------------------------------------------------------------------------------------- */

/* Keys and shares: client i deals its seeds and mask keys in a setup, once. */
inline ask_shares() {
	if
	:: cohort[i] == 0 ->
#ifdef SETUPS
		pick(who, BIT(i), EVERYONE);
#else
		who = EVERYONE;
#endif
		if
		:: SIZE(who) >= MIN_COHORT ->
#ifdef NO_SIGNED_KEYS
			pick(alive, 0, (who & GOOD) & ~BIT(i));
			faked[i] = alive;
#endif
#ifdef NO_PARAMS_HASH
			if :: lowered[i] = 1 :: skip fi;
#endif
#ifdef SETUPS
			if :: (who & BAD) != 0 -> who = who | VARIANT :: skip fi;
#endif
			cohort[i] = who;
			printf("client %d deals in the setup %d, of which %d under the server's own keys\n", i, who, faked[i])
		:: else   /* refused: below min_cohort */
		fi
	:: else   /* refused: a second setup for the same rounds */
	fi;
	who = 0; alive = 0
}

/* The delivery that rides on the next request, first one final. */
inline deliver() {
	if
	:: cohort[i] != 0 && members[i] == 0 ->
#ifdef SETUPS
		pick(who, BIT(i), cohort[i] & EVERYONE);
#else
		who = EVERYONE;
#endif
		if
		:: SIZE(who) >= MIN_COHORT -> members[i] = who
		:: else
		fi
	:: else
	fi;
	who = 0
}

/* Masked: client i sends its update under a list of participants and the model that it was given. */
inline ask_update() {
	if
	:: members[i] != 0 && ROUND_OK && !SENT(AT(r, i)) && !CLOSED(AT(r, i)) ->
		pick(who, BIT(i), members[i]);
#if CONTEXTS > 1
		if :: model = 1 :: skip fi;
#endif
		if
		:: LIST_OK ->
			enter_round();
			if
			:: list[AT(r, i)] != 0 -> two_uploads = 1   /* masked by the same seed and keys */
			:: else
			fi;
			if
			:: account_list[AT(r, i)] != 0 && !HAS(account_alive[AT(r, i)], i) -> left_out = 1
			:: else
			fi;
			list[AT(r, i)] = who; under[AT(r, i)] = members[i]; context[AT(r, i)] = model;
			known_list[AT(r, i)] = 1; kept_list[AT(r, i)] = LEDGER;   /* on disk before the header leaves */
			printf("client %d sends its update of round %d for the list %d, on model %d\n", i, r, who, model);
			d_step { judge() }
		:: else
		fi
	:: else
	fi;
	who = 0; model = 0
}

/* Unmask: client i is shown a list and survivors, and reveals one kind of share for each participant of whom it holds shares. */
inline ask_shares_back() {
	if
	:: members[i] != 0 && ROUND_OK && !REPEATED(AT(r, i)) ->
#ifdef NO_SAME_LIST
		pick(who, 0, members[i]);
#else
		if
		:: SENT(AT(r, i)) -> who = list[AT(r, i)]
		:: else -> pick(who, 0, members[i])
		fi;
#endif
#if CONTEXTS > 1
		if
		:: SENT(AT(r, i)) -> model = context[AT(r, i)]
		:: else -> if :: model = 1 :: skip fi
		fi;
#endif
		find_headers(shown);
		/* The client must be a survivor itself, or not have been asked for an update. */
#ifdef NO_OWN_DEATH
		pick(alive, 0, shown);
#else
		pick(alive, (shown & who) & BIT(i), shown);
#endif
		ok = LIST_OK;
#ifndef NO_OWN_DEATH
		ok = ok && (!HAS(who, i) || HAS(alive, i));
#endif
#ifdef NO_MIN_CLIENTS
		ok = ok && alive != 0;
#else
#ifdef NO_DISTINCT          /* one header may be shown as often as it takes */
		ok = ok && alive != 0;
#else
		ok = ok && SIZE(alive) >= M;
#endif
#endif
		if
		:: ok ->
			printf("client %d answers in round %d: list %d, survivors %d\n", i, r, who, alive);
			d_step { answer(); judge() }
		:: else
		fi
	:: else
	fi;
	ok = 0; who = 0; alive = 0; shown = 0; model = 0
}

#ifdef NO_ONE_KIND
#define KEY_TOO(x)  true
#else
#define KEY_TOO(x)  (!HAS(alive, x))
#endif

inline answer() {
	enter_round();
	again = account_list[AT(r, i)] != 0;
	if
	:: !again ->
		account_list[AT(r, i)] = who; account_alive[AT(r, i)] = alive; account_under[AT(r, i)] = members[i];
		account_model[AT(r, i)] = model
	:: else
	fi;
	again = 0;
	known_answer[AT(r, i)] = 1; kept_answer[AT(r, i)] = LEDGER;
	/* A client that signs an account of a round it sent an update in takes it that the update is in the sum. */
	if
	:: list[AT(r, i)] != 0 && !HAS(alive, i) -> left_out = 1
	:: else
	fi;
	x = 0;
	do
	:: x < HONEST ->
		/* Shares that were dealt in the same setup, to the client's own key. */
		if
		:: HAS(who, x) && SAME_SETUP(x, i) && !HAS(faked[x], i) && HAS(members[i], x) ->
			if
			:: HAS(alive, x) -> seeds[AT(r, x)] = seeds[AT(r, x)] | BIT(i)
			:: else
			fi;
			if
			:: x != i && KEY_TOO(x) ->
#ifdef NO_FRESH_KEYS
				keys[AT(0, x)] = keys[AT(0, x)] | BIT(i)   /* one mask key for the whole batch */
#else
				keys[AT(r, x)] = keys[AT(r, x)] | BIT(i)
#endif
			:: else
			fi
		:: else
		fi;
		x++
	:: else -> break
	od;
	x = 0
}

/* Client i is restored from a snapshot of before its delivery: its state forgets, its ledger does not. */
inline roll_back() {
	x = 0;
	do
	:: x < ROUNDS -> known_list[AT(x, i)] = 0; known_answer[AT(x, i)] = 0; x++
	:: else -> break
	od;
	x = 0;
#ifdef NO_LEDGER
	current[i] = 0;   /* with one, the floor is on disk too */
#endif
	members[i] = 0
}

/* -- what all that is worth to the server ------------------------------------------------------------------------------------------ */

#define DEALT(j)      (SIZE(cohort[j] & BAD) + SIZE(faked[j]))   /* shares that were the server's from the start */
#define NEEDED(j)     (lowered[j] -> 1 : T)
#define KEY_NEEDED(j) ((NEEDED(j) < SIZE(cohort[j] & EVERYONE) - 1) -> NEEDED(j) : (SIZE(cohort[j] & EVERYONE) - 1))
#ifdef NO_FRESH_KEYS
#define KEY_AT(j)     AT(0, j)
#else
#define KEY_AT(j)     AT(r, j)
#endif
/* The pair mask of i and j on i's upload is known, or goes out against that on j's. */
#define GONE(i, j)    (HAS(faked[i], j) || HAS(key_open, i) || HAS(key_open, j) || (HAS(alike, j) && list[AT(r, j)] == list[AT(r, i)] \
                       && SAME_SETUP(i, j)))

inline judge() {
	seed_open = 0; key_open = 0; x = 0;
	do
	:: x < HONEST ->
		if
		:: cohort[x] != 0 && SIZE(seeds[AT(r, x)]) + DEALT(x) >= NEEDED(x) -> seed_open = seed_open | BIT(x)
		:: else
		fi;
		if
		:: cohort[x] != 0 && SIZE(keys[KEY_AT(x)]) + DEALT(x) >= KEY_NEEDED(x) -> key_open = key_open | BIT(x)
		:: else
		fi;
		x++
	:: else -> break
	od;
	opened_both_ways = opened_both_ways || (seed_open & key_open) != 0;
	/* Every set of honest uploads, as bits of `alike`, whose masks all come off. */
	alike = 1;
	do
	:: alike <= GOOD ->
		ok = (alike & ~seed_open) == 0; x = 0;
		do
		:: x < HONEST && ok ->
			if
			:: HAS(alike, x) ->
				ok = list[AT(r, x)] != 0; y = 0;
				do
				:: y < HONEST && ok ->
					ok = y == x || !HAS(list[AT(r, x)], y) || GONE(x, y);
					y++
				:: else -> break
				od;
				y = 0
			:: else
			fi;
			x++
		:: else -> break
		od;
		if
		:: ok ->
			opened_too_few = opened_too_few || SIZE(alike) < G;
			x = 0; y = 0;
			do
			:: x < HONEST ->
				if
				:: account_list[AT(r, x)] != 0 -> y++   /* honest clients that answered */
				:: else
				fi;
				x++
			:: else -> break
			od;
			opened_below_threshold = opened_below_threshold || y + (N - HONEST) < T;
#if CONTEXTS > 1
			x = 0; y = 0;   /* y: bit 0, someone trained on model 0; bit 1, on model 1 */
			do
			:: x < HONEST ->
				if
				:: HAS(alike, x) -> y = y | BIT(context[AT(r, x)])
				:: else
				fi;
				x++
			:: else -> break
			od;
			opened_mixed_models = opened_mixed_models || y == 3;
#endif
			y = 0
		:: else
		fi;
		alike++
	:: else -> break
	od;
	/* Two accounts of one round, each with enough signatures for a receipt: the corrupt clients sign both. */
	x = 0;
	do
	:: x < HONEST ->
		if
		:: account_list[AT(r, x)] != 0 -> agreeing(x)
		:: else
		fi;
		x++
	:: else -> break
	od;
	x = 0; signers = 0; seed_open = 0; key_open = 0; ok = 0
}

#define SAME_ACCOUNT(i, j)  (account_list[AT(r, i)] == account_list[AT(r, j)] && account_alive[AT(r, i)] == account_alive[AT(r, j)] \
                             && SAME_SETUP(i, j) && account_under[AT(r, i)] == account_under[AT(r, j)] \
                             && account_model[AT(r, i)] == account_model[AT(r, j)])

/* Note whether the account of j has enough signatures while another one has them too. */
inline agreeing(j) {
	alike = 0; y = 0;
	do
	:: y < HONEST ->
		if
		:: account_list[AT(r, y)] != 0 && SAME_ACCOUNT(y, j) -> alike = alike | BIT(y)
		:: else
		fi;
		y++
	:: else -> break
	od;
	if
	:: SIZE(alike) + (N - HONEST) >= T ->
		two_accounts = two_accounts || (signers != 0 && signers != alike); signers = alike
	:: else
	fi;
	alike = 0; y = 0
}

#ifndef BROKEN
#define BROKEN  (opened_both_ways || opened_too_few || opened_mixed_models || opened_below_threshold || two_uploads || left_out || two_accounts)
#endif
#define CHECK   assert(!(BROKEN))

inline select_client() { i = 0; do :: i < HONEST - 1 -> i++ :: break od }
inline select_round() { r = 0; do :: r < ROUNDS - 1 -> r++ :: break od }

init {
#ifdef IN_TURN
	/* Everybody deals, then each is asked for an update or not, then each for its shares or not. */
	do
	:: turn < STEPS * HONEST -> atomic {
		i = turn % HONEST;
		if
		:: turn < HONEST -> ask_shares(); deliver()
		:: turn >= HONEST && (turn / HONEST) % 2 == 1 -> if :: true -> ask_update() :: skip fi
		:: turn >= HONEST && (turn / HONEST) % 2 == 0 -> if :: true -> ask_shares_back() :: skip fi
		fi;
		turn++; i = 0;
		CHECK
	}
	:: else -> break
	od
#else
	do
	:: atomic {
		select_client(); select_round();
		if
		:: true -> ask_shares()
		:: true -> deliver()
		:: true -> ask_update()
		:: true -> ask_shares_back()
#ifdef ROLLBACK
		:: true -> d_step { roll_back() }
#endif
		fi;
		i = 0; r = 0;
		CHECK
	}
	:: break
	od
#endif
}
