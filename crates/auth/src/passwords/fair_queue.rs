//! A fair queue for password hashing: gives out permits to the subnets of the clients in turn (round robin).
//!
//! Invariant: at most as many permits are out as there are workers, and at most `limit` callers wait. However
//! many attempts one subnet sends, a caller from another waits for at most one of them per worker.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

use portcullis_net::Subnet;

/// A queue of waiting callers for each subnet, and as many permits as there are workers.
pub(crate) struct FairQueue {
    state: Mutex<FairQueueState>,
    max_waiting: usize,
}

struct FairQueueState {
    free_permits: usize,
    waiting_count: usize,
    waiting_by_subnet: HashMap<Subnet, VecDeque<oneshot::Sender<HashPermit>>>,
    /// The subnets in `lines`, in the order of their turns.
    turn_order: VecDeque<Subnet>,
}

/// The permission to hash one password; dropping it passes the permit to the next waiting caller.
pub(crate) struct HashPermit(Arc<FairQueue>);

/// The error for a caller that finds the queue full, or that was displaced by a caller of a subnet with fewer waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueFull;

impl FairQueue {
    /// Creates a queue with `workers` permits, in which at most `limit` callers wait.
    pub(crate) fn new(workers: usize, limit: usize) -> Arc<Self> {
        let state = FairQueueState {
            free_permits: workers,
            waiting_count: 0,
            waiting_by_subnet: HashMap::new(),
            turn_order: VecDeque::new(),
        };
        Arc::new(Self { state: Mutex::new(state), max_waiting: limit })
    }

    /// Waits for a permit. Dropping the future leaves the queue.
    ///
    /// # Errors
    ///
    /// Fails if the queue is full, or if a caller of a subnet with fewer waiting callers took this place.
    pub(crate) async fn acquire(self: &Arc<Self>, from: Subnet) -> Result<HashPermit, QueueFull> {
        let called = {
            let mut state = self.state();
            if state.free_permits > 0 {
                state.free_permits -= 1;
                return Ok(HashPermit(Arc::clone(self)));
            }
            if state.waiting_count >= self.max_waiting {
                state.remove_cancelled();
            }
            if state.waiting_count >= self.max_waiting {
                state.displace_from_longest(from)?;
            }
            state.enqueue(from)
        };
        called.await.map_err(|_| QueueFull)
    }

    /// Passes a permit that was dropped to the next waiting caller.
    fn release(self: &Arc<Self>) {
        let next = {
            let mut state = self.state();
            let next = state.pop_next();
            if next.is_none() {
                state.free_permits += 1;
            }
            next
        };
        if let Some(next) = next {
            // If that caller has left meanwhile, the permit is dropped here, which releases it again.
            let _ = next.send(HashPermit(Arc::clone(self)));
        }
    }

    fn state(&self) -> MutexGuard<'_, FairQueueState> {
        self.state.lock()
    }
}

impl Drop for HashPermit {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl FairQueueState {
    fn enqueue(&mut self, from: Subnet) -> oneshot::Receiver<HashPermit> {
        let (call, called) = oneshot::channel();
        let line = self.waiting_by_subnet.entry(from).or_default();
        if line.is_empty() {
            self.turn_order.push_back(from);
        }
        line.push_back(call);
        self.waiting_count += 1;
        called
    }

    /// Removes the first caller of the subnet whose turn it is; the subnet then moves behind all others.
    fn pop_next(&mut self) -> Option<oneshot::Sender<HashPermit>> {
        let network = self.turn_order.pop_front()?;
        let line = self.waiting_by_subnet.get_mut(&network)?;
        let first = line.pop_front();
        if line.is_empty() {
            self.waiting_by_subnet.remove(&network);
        } else {
            self.turn_order.push_back(network);
        }
        self.waiting_count -= usize::from(first.is_some());
        first
    }

    /// Rejects the last caller of the subnet with the most waiting, if that is more than the subnet of `from` would
    /// have.
    fn displace_from_longest(&mut self, from: Subnet) -> Result<(), QueueFull> {
        let own = self.waiting_by_subnet.get(&from).map_or(0, VecDeque::len);
        let longest = self.waiting_by_subnet.iter_mut().max_by_key(|(_, line)| line.len());
        let (_, line) = longest.filter(|(_, line)| line.len() > own + 1).ok_or(QueueFull)?;
        // Dropping the sender closes the channel, which the waiting caller sees as `QueueFull`.
        drop(line.pop_back());
        self.waiting_count -= 1;
        Ok(())
    }

    fn remove_cancelled(&mut self) {
        for line in self.waiting_by_subnet.values_mut() {
            line.retain(|call| !call.is_closed());
        }
        self.waiting_by_subnet.retain(|_, line| !line.is_empty());
        self.turn_order.retain(|network| self.waiting_by_subnet.contains_key(network));
        self.waiting_count = self.waiting_by_subnet.values().map(VecDeque::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;

    fn network(last: u8) -> Subnet {
        Subnet::of_subscriber([192, 0, 2, last].into())
    }

    /// Lets callers of the given subnets wait, drops `held`, and returns the order in which they got a permit.
    async fn permit_order(queue: &Arc<FairQueue>, held: HashPermit, callers: &[u8]) -> Vec<u8> {
        let order = Mutex::new(Vec::new());
        let waiting = callers.iter().map(|number| async {
            let _permit = queue.acquire(network(*number)).await.unwrap();
            order.lock().push(*number);
            tokio::task::yield_now().await;
        });
        tokio::join!(futures_util::future::join_all(waiting), async { drop(held) });
        order.into_inner()
    }

    #[tokio::test]
    async fn networks_take_turns_however_many_come_from_one() {
        let queue = FairQueue::new(1, 100);
        let held = queue.acquire(network(9)).await.unwrap();
        assert_eq!(permit_order(&queue, held, &[1, 1, 1, 1, 2, 2, 3]).await, [1, 2, 3, 1, 2, 1, 1]);
    }

    #[tokio::test]
    async fn no_more_than_the_workers_hash_at_once() {
        let queue = FairQueue::new(2, 100);
        let (one, two) = (queue.acquire(network(1)).await.unwrap(), queue.acquire(network(1)).await.unwrap());
        assert!(queue.acquire(network(2)).now_or_never().is_none());
        drop(one);
        let three = queue.acquire(network(2)).now_or_never().unwrap().unwrap();
        assert!(queue.acquire(network(3)).now_or_never().is_none());
        drop((two, three));
        assert_eq!(queue.state().free_permits, 2);
    }

    #[tokio::test]
    async fn in_a_full_queue_the_subnet_with_the_most_waiting_gives_way_to_others() {
        let queue = FairQueue::new(1, 3);
        let held = queue.acquire(network(9)).await.unwrap();
        let mut crowd: Vec<_> = (0..3).map(|_| Box::pin(queue.acquire(network(1)))).collect();
        for guess in &mut crowd {
            assert!(guess.as_mut().now_or_never().is_none());
        }
        assert_eq!(queue.acquire(network(1)).await.err(), Some(QueueFull), "the crowd makes no room for itself");
        let mut other = Box::pin(queue.acquire(network(2)));
        assert!(other.as_mut().now_or_never().is_none());
        assert_eq!(crowd.pop().unwrap().await.err(), Some(QueueFull), "the last of the crowd is sent away");
        drop(held);
        drop(crowd[0].as_mut().now_or_never().unwrap().unwrap());
        assert!(other.now_or_never().unwrap().is_ok(), "the other's turn comes second");
    }

    #[tokio::test]
    async fn a_caller_that_leaves_keeps_neither_a_place_nor_a_permit() {
        let queue = FairQueue::new(1, 2);
        let held = queue.acquire(network(9)).await.unwrap();
        for _ in 0..10 {
            assert!(tokio::time::timeout(Duration::ZERO, queue.acquire(network(1))).await.is_err());
        }
        let waiting = queue.acquire(network(2));
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(held);
        assert!(waiting.now_or_never().unwrap().is_ok());
        let state = queue.state();
        assert_eq!((state.free_permits, state.waiting_count), (1, 0));
    }
}
