//! A core that goes to sleep and those that write to it: no letter lies unnoticed.

use std::sync::Arc;

use shuttle::sync::{Condvar, Mutex};

use crate::check;
use crate::core::{Inbox, Mail};
use crate::wake::Wake;

const WRITERS: usize = 2;
const LETTERS: usize = 2;

#[test]
fn a_letter_to_a_core_that_is_falling_asleep_wakes_it() {
    check(|| {
        let bell = Arc::new((Mutex::new(false), Condvar::new()));
        let rope = Arc::clone(&bell);
        let inbox = Arc::new(Inbox::new(Wake::new(move || {
            *rope.0.lock().expect("nobody panics with it") = true;
            rope.1.notify_one();
        })));
        for _ in 0..WRITERS {
            let inbox = Arc::clone(&inbox);
            shuttle::thread::spawn(move || (0..LETTERS).for_each(|_| inbox.post(Mail::Nudge)));
        }
        let (mut mail, mut read) = (Vec::new(), 0);
        while read < WRITERS * LETTERS {
            inbox.take(&mut mail);
            read += mail.drain(..).count();
            if read < WRITERS * LETTERS && inbox.may_sleep() {
                // One that is never rung for is a deadlock, which the scheduler finds.
                let mut rung = bell.0.lock().expect("nobody panics with it");
                while !*rung {
                    rung = bell.1.wait(rung).expect("nobody panics with it");
                }
                *rung = false;
            }
        }
    });
}
