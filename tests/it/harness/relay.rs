//! A wire that counts the connections made through it, and can break them all at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Passes every connection on to a port of this machine.
pub struct Relay {
    pub port: u16,
    made: Arc<AtomicUsize>,
    /// Breaks the connections that are open.
    knife: Arc<Mutex<CancellationToken>>,
}

impl Relay {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let from = listener.local_addr().expect("an address").port();
        let made = Arc::new(AtomicUsize::new(0));
        let knife = Arc::<Mutex<CancellationToken>>::default();
        let (counted, cut) = (Arc::clone(&made), Arc::clone(&knife));
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let cut = cut.lock().expect("no panic").clone();
                tokio::spawn(cut.run_until_cancelled_owned(async move {
                    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                }));
            }
        });
        Self { port: from, made, knife }
    }

    /// Breaks every connection, at both ends; new ones are passed on as before.
    pub fn cut(&self) {
        std::mem::take(&mut *self.knife.lock().expect("no panic")).cancel();
    }

    /// How many connections there have been.
    pub fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }
}
