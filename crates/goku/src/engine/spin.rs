//! Looking for more to do before a thread sleeps.

use std::time::{Duration, Instant};

/// Longest time of a look: an answer to a caller nearby, and its next request back, take less.
const LOOK_MAX: Duration = Duration::from_micros(150);

/// Most looks that are left out after those that found nothing.
const PAUSE_MAX: u32 = 64;

/// Saves a thread that is given work again and again the sleep in between: putting it to sleep and waking it takes a caller
/// longer than asking does.
///
/// A look costs processor time, so looks are given up for longer and longer where nothing comes.
#[derive(Debug, Default)]
pub(super) struct Spin {
    /// Looks to leave out, and how many they were the last time.
    pause: u32,
    last_pause: u32,
}

impl Spin {
    /// Looks whether something `is_there`, until it is or that has taken too long.
    pub(super) fn look(&mut self, is_there: impl Fn() -> bool) {
        if self.pause > 0 {
            self.pause -= 1;
            return;
        }
        let begun = Instant::now();
        while !is_there() {
            if begun.elapsed() > LOOK_MAX {
                self.last_pause = (self.last_pause * 2).clamp(1, PAUSE_MAX);
                self.pause = self.last_pause;
                return;
            }
            std::hint::spin_loop();
        }
        self.last_pause = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn looks_for_nothing_become_rare() {
        let mut spin = Spin::default();
        let looks = |spin: &mut Spin, times: usize| {
            let looks = Cell::new(0);
            for _ in 0..times {
                let looked = Cell::new(false);
                spin.look(|| {
                    looked.set(true);
                    false
                });
                looks.set(looks.get() + usize::from(looked.get()));
            }
            looks.get()
        };
        assert!(looks(&mut spin, 200) < 10);
        assert!(looks(&mut spin, 650) <= 10);
    }

    #[test]
    fn what_was_found_is_looked_for_again() {
        let mut spin = Spin {
            pause: 0,
            last_pause: PAUSE_MAX,
        };
        spin.look(|| true);
        spin.look(|| false);
        assert_eq!((spin.pause, spin.last_pause), (1, 1));
    }
}
