//! A fair queue for password hashing: gives out permits to the subnets of the clients in turn (round robin).
//!
//! Invariant: at most as many permits are out as there are workers, and at most `limit` callers wait. However
//! many attempts one subnet sends, a caller from another waits for at most one of them per worker.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use super::network::Network;

/// A queue of waiting callers for each subnet, and as many permits as there are workers.
pub(super) struct Queue {
    state: Mutex<State>,
    limit: usize,
}

struct State {
    free: usize,
    waiting: usize,
    lines: HashMap<Network, VecDeque<oneshot::Sender<Permit>>>,
    /// The subnets in `lines`, in the order of their turns.
    turns: VecDeque<Network>,
}

/// The permission to hash one password; dropping it passes the permit to the next waiting caller.
pub(super) struct Permit(Arc<Queue>);

/// The error for a caller that finds the queue full, or that was displaced by a caller of a subnet with fewer waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Queue {
    /// Creates a queue with `workers` permits, in which at most `limit` callers wait.
    pub(super) fn new(workers: usize, limit: usize) -> Arc<Self> {
        let state = State { free: workers, waiting: 0, lines: HashMap::new(), turns: VecDeque::new() };
        Arc::new(Self { state: Mutex::new(state), limit })
    }

    /// Waits for a permit. Dropping the future leaves the queue.
    ///
    /// # Errors
    ///
    /// Fails if the queue is full, or if a caller of a subnet with fewer waiting callers took this place.
    pub(super) async fn wait(self: &Arc<Self>, from: Network) -> Result<Permit, Full> {
        let called = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Permit(Arc::clone(self)));
            }
            if state.waiting >= self.limit {
                state.forget_who_left();
            }
            if state.waiting >= self.limit {
                state.make_room(from)?;
            }
            state.join(from)
        };
        called.await.map_err(|_| Full)
    }

    /// Passes a permit that was dropped to the next waiting caller.
    fn release(self: &Arc<Self>) {
        let next = {
            let mut state = self.state();
            let next = state.next();
            if next.is_none() {
                state.free += 1;
            }
            next
        };
        if let Some(next) = next {
            // If that caller has left meanwhile, the permit is dropped here, which releases it again.
            let _ = next.send(Permit(Arc::clone(self)));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl State {
    fn join(&mut self, from: Network) -> oneshot::Receiver<Permit> {
        let (call, called) = oneshot::channel();
        let line = self.lines.entry(from).or_default();
        if line.is_empty() {
            self.turns.push_back(from);
        }
        line.push_back(call);
        self.waiting += 1;
        called
    }

    /// Removes the first caller of the subnet whose turn it is; the subnet then moves behind all others.
    fn next(&mut self) -> Option<oneshot::Sender<Permit>> {
        let network = self.turns.pop_front()?;
        let line = self.lines.get_mut(&network)?;
        let first = line.pop_front();
        if line.is_empty() {
            self.lines.remove(&network);
        } else {
            self.turns.push_back(network);
        }
        self.waiting -= usize::from(first.is_some());
        first
    }

    /// Rejects the last caller of the subnet with the most waiting, if that is more than the subnet of `from` would
    /// have.
    fn make_room(&mut self, from: Network) -> Result<(), Full> {
        let own = self.lines.get(&from).map_or(0, VecDeque::len);
        let longest = self.lines.iter_mut().max_by_key(|(_, line)| line.len());
        let (_, line) = longest.filter(|(_, line)| line.len() > own + 1).ok_or(Full)?;
        // Dropping the sender closes the channel, which the waiting caller sees as `Full`.
        drop(line.pop_back());
        self.waiting -= 1;
        Ok(())
    }

    fn forget_who_left(&mut self) {
        for line in self.lines.values_mut() {
            line.retain(|call| !call.is_closed());
        }
        self.lines.retain(|_, line| !line.is_empty());
        self.turns.retain(|network| self.lines.contains_key(network));
        self.waiting = self.lines.values().map(VecDeque::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, time::Duration};

    use futures_util::FutureExt as _;

    use super::*;

    fn network(last: u8) -> Network {
        IpAddr::from([192, 0, 2, last]).into()
    }

    /// Lets callers of the given subnets wait, drops `held`, and returns the order in which they got a permit.
    async fn order(queue: &Arc<Queue>, held: Permit, callers: &[u8]) -> Vec<u8> {
        let order = Mutex::new(Vec::new());
        let waiting = callers.iter().map(|number| async {
            let _permit = queue.wait(network(*number)).await.unwrap();
            order.lock().unwrap().push(*number);
            tokio::task::yield_now().await;
        });
        tokio::join!(futures_util::future::join_all(waiting), async { drop(held) });
        order.into_inner().unwrap()
    }

    #[tokio::test]
    async fn networks_take_turns_however_many_come_from_one() {
        let queue = Queue::new(1, 100);
        let held = queue.wait(network(9)).await.unwrap();
        assert_eq!(order(&queue, held, &[1, 1, 1, 1, 2, 2, 3]).await, [1, 2, 3, 1, 2, 1, 1]);
    }

    #[tokio::test]
    async fn no_more_than_the_workers_hash_at_once() {
        let queue = Queue::new(2, 100);
        let (one, two) = (queue.wait(network(1)).await.unwrap(), queue.wait(network(1)).await.unwrap());
        assert!(queue.wait(network(2)).now_or_never().is_none());
        drop(one);
        let three = queue.wait(network(2)).now_or_never().unwrap().unwrap();
        assert!(queue.wait(network(3)).now_or_never().is_none());
        drop((two, three));
        assert_eq!(queue.state().free, 2);
    }

    #[tokio::test]
    async fn in_a_full_queue_the_longest_line_gives_way_to_a_shorter_one() {
        let queue = Queue::new(1, 3);
        let held = queue.wait(network(9)).await.unwrap();
        let mut crowd: Vec<_> = (0..3).map(|_| Box::pin(queue.wait(network(1)))).collect();
        for guess in &mut crowd {
            assert!(guess.as_mut().now_or_never().is_none());
        }
        assert_eq!(queue.wait(network(1)).await.err(), Some(Full), "the crowd makes no room for itself");
        let mut other = Box::pin(queue.wait(network(2)));
        assert!(other.as_mut().now_or_never().is_none());
        assert_eq!(crowd.pop().unwrap().await.err(), Some(Full), "the last of the crowd is sent away");
        drop(held);
        drop(crowd[0].as_mut().now_or_never().unwrap().unwrap());
        assert!(other.now_or_never().unwrap().is_ok(), "the other's turn comes second");
    }

    #[tokio::test]
    async fn whoever_leaves_keeps_neither_a_place_nor_a_permit() {
        let queue = Queue::new(1, 2);
        let held = queue.wait(network(9)).await.unwrap();
        for _ in 0..10 {
            assert!(tokio::time::timeout(Duration::ZERO, queue.wait(network(1))).await.is_err());
        }
        let waiting = queue.wait(network(2));
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(held);
        assert!(waiting.now_or_never().unwrap().is_ok());
        let state = queue.state();
        assert_eq!((state.free, state.waiting), (1, 0));
    }
}
