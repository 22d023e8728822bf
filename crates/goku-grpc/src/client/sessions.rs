//! The sessions of a client, and which of their numbers are in use.

use std::time::Duration;

use goku::limits::{SESSION_IDLE_MAX, SESSION_OUTCOMES_MAX};
use goku::{SessionId, WriteId};
use tokio::time::Instant;

/// The numbers of a session beyond the oldest that is not answered, and so the writes that it has under way at most:
/// each can be sent again however the others overtake it, as the store keeps the outcomes of twice as many. They are
/// the bits of [`WriteSession::unanswered`].
const WINDOW: u64 = SESSION_OUTCOMES_MAX as u64 / 2;

/// Sessions are not used any more when they have been idle for so long: the store may have forgotten them soon.
const IDLE_MAX: Duration = Duration::from_secs(SESSION_IDLE_MAX.as_secs() / 2);

/// Sessions that the store knows, with numbers to take. A session has numbers while its window has room; the first that
/// has is taken, so that no more are used than are needed.
#[derive(Debug, Default)]
pub(super) struct WriteSessions {
    sessions: Vec<WriteSession>,
}

#[derive(Debug)]
struct WriteSession {
    id: SessionId,
    /// All numbers below this one are answered.
    oldest: u64,
    /// The next number.
    next: u64,
    /// Bit `n` stands for the number `oldest + n`.
    unanswered: u64,
    used_at: Instant,
}

impl WriteSessions {
    /// Adds a session whose number 1 has been used, and answered.
    pub(super) fn add(&mut self, id: SessionId, now: Instant) {
        self.sessions.retain(|session| !session.is_idle(now));
        self.sessions.push(WriteSession {
            id,
            oldest: 2,
            next: 2,
            unanswered: 0,
            used_at: now,
        });
    }

    /// Whether there is a number to take.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        self.sessions.iter().any(|session| session.has_room(now))
    }

    /// A number that nobody has; none where all windows are full: then another session is to be added.
    pub(super) fn take(&mut self, now: Instant) -> Option<WriteId> {
        let session = self.sessions.iter_mut().find(|session| session.has_room(now))?;
        let number = session.next;
        session.unanswered |= 1 << (number - session.oldest);
        session.next += 1;
        session.used_at = now;
        Some(WriteId {
            session: session.id,
            number,
            answered: session.oldest - 1,
        })
    }

    /// Notes that nobody will send this number again.
    pub(super) fn finish(&mut self, id: WriteId) {
        if let Some(session) = self.sessions.iter_mut().find(|session| session.id == id.session) {
            session.finish(id.number);
        }
    }

    /// Takes no more numbers of a session that met trouble.
    pub(super) fn remove(&mut self, id: SessionId) {
        self.sessions.retain(|session| session.id != id);
    }
}

impl WriteSession {
    fn has_room(&self, now: Instant) -> bool {
        self.next - self.oldest < WINDOW && !self.is_idle(now)
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.unanswered == 0 && now.saturating_duration_since(self.used_at) >= IDLE_MAX
    }

    fn finish(&mut self, number: u64) {
        let Some(bit) = number.checked_sub(self.oldest).filter(|bit| *bit < WINDOW) else {
            return;
        };
        self.unanswered &= !(1 << bit);
        let answered = u64::from(self.unanswered.trailing_zeros()).min(self.next - self.oldest);
        self.oldest += answered;
        self.unanswered = self.unanswered.checked_shr(answered as u32).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(sessions: u64) -> (WriteSessions, Instant) {
        let now = Instant::now();
        let mut pool = WriteSessions::default();
        for id in 1..=sessions {
            pool.add(SessionId::new(id), now);
        }
        (pool, now)
    }

    fn id(session: u64, number: u64) -> WriteId {
        WriteId::new(SessionId::new(session), number)
    }

    /// The session and the number of a write.
    fn parts(taken: Option<WriteId>) -> Option<(u64, u64)> {
        taken.map(|id| (id.session.get(), id.number))
    }

    #[test]
    fn a_write_tells_which_ones_before_it_are_answered() {
        let (mut pool, now) = pool(1);
        let answered = |pool: &mut WriteSessions| pool.take(now).unwrap().answered;
        assert_eq!(
            (answered(&mut pool), answered(&mut pool), answered(&mut pool)),
            (1, 1, 1)
        );
        pool.finish(id(1, 3));
        assert_eq!(answered(&mut pool), 1);
        pool.finish(id(1, 2));
        assert_eq!(answered(&mut pool), 3);
    }

    #[test]
    fn without_sessions_there_are_no_numbers() {
        let (mut pool, now) = pool(0);
        assert_eq!(pool.take(now), None);
        assert!(!pool.has_room(now));
    }

    #[test]
    fn numbers_go_on_in_the_first_session_that_has_room() {
        let (mut pool, now) = pool(2);
        for number in 2..2 + WINDOW {
            assert_eq!(parts(pool.take(now)), Some((1, number)));
        }
        assert_eq!(parts(pool.take(now)), Some((2, 2)));
        pool.finish(id(1, 2));
        assert_eq!(parts(pool.take(now)), Some((1, 2 + WINDOW)));
        assert_eq!(parts(pool.take(now)), Some((2, 3)));
    }

    #[test]
    fn no_number_goes_beyond_the_window_of_the_oldest_unanswered() {
        let (mut pool, now) = pool(1);
        let oldest = pool.take(now).unwrap();
        for _ in 1..WINDOW {
            let id = pool.take(now).unwrap();
            pool.finish(id);
        }
        assert_eq!(pool.take(now), None, "though but one is under way");
        pool.finish(oldest);
        for number in 2 + WINDOW..2 + 2 * WINDOW {
            assert_eq!(parts(pool.take(now)), Some((1, number)));
        }
        assert_eq!(pool.take(now), None);
    }

    #[test]
    fn answers_in_any_order_move_the_window_to_the_oldest_unanswered() {
        let (mut pool, now) = pool(1);
        let taken: Vec<_> = (0..WINDOW).map(|_| pool.take(now).unwrap()).collect();
        for id in taken.iter().rev().take(60) {
            pool.finish(*id);
            assert!(!pool.has_room(now));
        }
        pool.finish(taken[1]);
        pool.finish(taken[0]);
        pool.finish(taken[0]);
        assert_eq!(parts(pool.take(now)), Some((1, 2 + WINDOW)));
        assert_eq!(parts(pool.take(now)), Some((1, 3 + WINDOW)));
        assert_eq!(pool.take(now), None);
    }

    #[test]
    fn a_session_that_is_removed_is_not_used_and_its_numbers_are_nobodys() {
        let (mut pool, now) = pool(1);
        let taken = pool.take(now).unwrap();
        pool.remove(taken.session);
        assert_eq!(pool.take(now), None);
        pool.finish(taken);
    }

    #[test]
    fn a_session_that_nobody_used_for_long_is_not_used_again() {
        let (mut pool, now) = pool(1);
        let taken = pool.take(now).unwrap();
        let later = now + IDLE_MAX;
        assert!(pool.has_room(later), "a write is under way");
        pool.finish(taken);
        assert!(pool.has_room(later - Duration::from_millis(1)));
        assert!(!pool.has_room(later));
        pool.add(SessionId::new(2), later);
        assert_eq!(parts(pool.take(later)), Some((2, 2)));
        assert_eq!(pool.sessions.len(), 1);
    }

    /// Whatever is taken and finished in whatever order: no number twice, none too far from the oldest unanswered.
    #[test]
    fn a_random_order_keeps_the_bounds() {
        let (mut pool, now) = pool(1);
        let mut random = 88_172_645_463_325_252_u64;
        let mut under_way: Vec<WriteId> = Vec::new();
        let mut last = 1;
        for _ in 0..20_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            if random.is_multiple_of(2) {
                let oldest = under_way.iter().map(|id| id.number).min().unwrap_or(last + 1);
                match pool.take(now) {
                    Some(id) => {
                        assert_eq!(id.number, last + 1);
                        assert!(id.number - oldest < WINDOW);
                        last = id.number;
                        under_way.push(id);
                    }
                    None => assert_eq!(last + 1 - oldest, WINDOW),
                }
            } else if !under_way.is_empty() {
                let id = under_way.swap_remove((random >> 8) as usize % under_way.len());
                pool.finish(id);
            }
        }
    }
}
