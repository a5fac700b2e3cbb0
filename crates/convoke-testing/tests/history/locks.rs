use convoke_testing::history::{Fence, FencedWrite, Lock, LockAnswer::*, LockCall::*};

use crate::written::{fails, passes};

#[test]
fn a_lock_goes_from_hand_to_hand_under_growing_tokens() {
    passes::<Lock>(&[
        (1, 1, 2, Acquire, Some(Granted(3))),
        (2, 3, 4, Acquire, Some(Busy)),
        (1, 5, 6, Renew(3), Some(Done)),
        (1, 7, 10, Release(3), Some(Done)),
        (2, 8, 9, Acquire, Some(Granted(7))),
        (1, 11, 12, Renew(3), Some(Lost)),
        (1, 13, 14, Release(3), Some(Lost)),
    ]);
}

#[test]
fn two_holders_at_a_time_are_found() {
    fails::<Lock>(&[(1, 1, 2, Acquire, Some(Granted(1))), (2, 3, 4, Acquire, Some(Granted(2)))], &[0, 1]);
}

#[test]
fn a_lease_that_may_have_run_out_lets_the_next_one_in_but_not_earlier() {
    passes::<Lock>(&[
        (1, 1, 2, Acquire, Some(Granted(1))),
        (1, 3, 0, Expire(1), None),
        (2, 4, 5, Acquire, Some(Granted(2))),
    ]);
    fails::<Lock>(
        &[
            (1, 1, 2, Acquire, Some(Granted(1))),
            (2, 3, 4, Acquire, Some(Granted(2))),
            (1, 5, 0, Expire(1), None),
        ],
        &[0, 1],
    );
}

#[test]
fn one_who_lost_the_lock_is_not_told_that_it_was_renewed() {
    fails::<Lock>(
        &[
            (1, 1, 2, Acquire, Some(Granted(1))),
            (1, 3, 0, Expire(1), None),
            (2, 4, 5, Acquire, Some(Granted(2))),
            (1, 6, 7, Renew(1), Some(Done)),
        ],
        &[1, 2, 3],
    );
}

#[test]
fn a_token_that_does_not_grow_is_found() {
    let twice = [(1, Granted(5)), (5, Granted(5))];
    let back = [(1, Granted(5)), (5, Granted(4))];
    for [(first, one), (second, other)] in [twice, back] {
        fails::<Lock>(
            &[
                (1, first, first + 1, Acquire, Some(one)),
                (1, first + 2, first + 3, Release(5), Some(Done)),
                (2, second, second + 1, Acquire, Some(other)),
            ],
            &[1, 2],
        );
    }
}

#[test]
fn busy_without_a_holder_is_found() {
    fails::<Lock>(
        &[
            (1, 1, 2, Acquire, Some(Granted(1))),
            (1, 3, 4, Release(1), Some(Done)),
            (2, 5, 6, Acquire, Some(Busy)),
        ],
        &[1, 2],
    );
}

#[test]
fn an_acquire_whose_outcome_is_unknown_may_hold_the_lock() {
    passes::<Lock>(&[
        (1, 1, 0, Acquire, None),
        (2, 2, 3, Acquire, Some(Busy)),
        (2, 4, 5, Acquire, Some(Granted(9))),
    ]);
}

#[test]
fn a_fence_that_goes_back_is_found() {
    passes::<Fence>(&[
        (1, 1, 2, FencedWrite(4), Some(true)),
        (1, 3, 4, FencedWrite(4), Some(true)),
        (2, 5, 6, FencedWrite(6), Some(true)),
        (1, 7, 8, FencedWrite(4), Some(false)),
    ]);
    fails::<Fence>(
        &[
            (1, 1, 2, FencedWrite(4), Some(true)),
            (2, 3, 4, FencedWrite(6), Some(true)),
            (1, 5, 6, FencedWrite(4), Some(true)),
        ],
        &[1, 2],
    );
}
