//! As much of `crossbeam_channel` as the recorder's streams use, over loom. Nobody waits: a timeout comes at once.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use loom::sync::Mutex;

struct Queue<T> {
    items: VecDeque<T>,
    capacity: usize,
    receivers: usize,
    senders: usize,
}

pub struct Sender<T>(Arc<Mutex<Queue<T>>>);
pub struct Receiver<T>(Arc<Mutex<Queue<T>>>);

#[derive(Debug)]
pub enum TrySendError<T> {
    Full(T),
    Disconnected(T),
}

#[derive(Debug)]
pub enum SendTimeoutError<T> {
    Timeout(T),
    Disconnected(T),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryRecvError {
    Empty,
    Disconnected,
}

pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let queue = Queue { items: VecDeque::new(), capacity, receivers: 1, senders: 1 };
    let queue = Arc::new(Mutex::new(queue));
    (Sender(Arc::clone(&queue)), Receiver(queue))
}

impl<T> Sender<T> {
    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        let mut queue = self.0.lock().unwrap();
        if queue.receivers == 0 {
            return Err(TrySendError::Disconnected(item));
        }
        if queue.items.len() == queue.capacity {
            return Err(TrySendError::Full(item));
        }
        queue.items.push_back(item);
        Ok(())
    }

    pub fn send_timeout(&self, item: T, _timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        loom::thread::yield_now();
        self.try_send(item).map_err(|error| match error {
            TrySendError::Full(item) => SendTimeoutError::Timeout(item),
            TrySendError::Disconnected(item) => SendTimeoutError::Disconnected(item),
        })
    }
}

impl<T> Receiver<T> {
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut queue = self.0.lock().unwrap();
        match queue.items.pop_front() {
            Some(item) => Ok(item),
            None if queue.senders == 0 => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.lock().unwrap().senders -= 1;
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.lock().unwrap().receivers -= 1;
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver")
    }
}
