//! The thread that waits for connections, and can be told to go.

use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;

#[derive(Debug)]
pub(super) struct Door {
    /// Its closing is what the thread is told.
    open: UnixStream,
    thread: JoinHandle<()>,
}

impl Door {
    /// Calls `admit` whenever somebody waits to be accepted. The thread keeps `listener` until the
    /// door is closed.
    pub(super) fn open(listener: Arc<TcpListener>, admit: impl Fn() + Send + 'static) -> Self {
        let (open, closed) = UnixStream::pair().expect("two sockets for the door");
        let thread = thread::spawn(move || {
            loop {
                let mut awaited =
                    [PollFd::new(&*listener, PollFlags::IN), PollFd::new(&closed, PollFlags::IN)];
                retry_on_intr(|| poll(&mut awaited, None)).expect("sockets can be waited for");
                if !awaited[1].revents().is_empty() {
                    return;
                }
                admit();
            }
        });
        Self { open, thread }
    }

    /// Returns when the thread has let go of the listener.
    pub(super) fn close(self) {
        drop(self.open);
        self.thread.join().expect("the thread at the door does not panic");
    }
}
