//! A TCP balancer over the masters' API: each connection goes to the first master that accepts it, starting with the
//! last one that did. It knows nothing of TLS or HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// A master that does not accept within this time is passed over.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves `listener` until `stop`.
pub async fn run(listener: TcpListener, masters: Vec<SocketAddr>, stop: CancellationToken) {
    let masters = Arc::new(Masters {
        addresses: masters,
        preferred: AtomicUsize::new(0),
    });
    loop {
        let accepted = tokio::select! { _ = stop.cancelled() => return, accepted = listener.accept() => accepted };
        match accepted {
            Ok((client, _)) => drop(tokio::spawn(forward(client, masters.clone(), stop.clone()))),
            // Out of file descriptors, most likely: existing connections must end first.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

struct Masters {
    addresses: Vec<SocketAddr>,
    preferred: AtomicUsize,
}

impl Masters {
    async fn connect(&self) -> Option<TcpStream> {
        let first = self.preferred.load(Ordering::Relaxed);
        for step in 0..self.addresses.len() {
            let index = (first + step) % self.addresses.len();
            let attempt = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(self.addresses[index])).await;
            if let Ok(Ok(stream)) = attempt {
                self.preferred.store(index, Ordering::Relaxed);
                return Some(stream);
            }
        }
        None
    }
}

async fn forward(mut client: TcpStream, masters: Arc<Masters>, stop: CancellationToken) {
    let Some(mut master) = masters.connect().await else {
        return;
    };
    // Small requests and answers: waiting to fill a segment would only add latency.
    let _ = (client.set_nodelay(true), master.set_nodelay(true));
    tokio::select! {
        _ = stop.cancelled() => {}
        _ = tokio::io::copy_bidirectional(&mut client, &mut master) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_dead_master_is_passed_over() {
        let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dead_address = dead.local_addr().unwrap();
        drop(dead);
        let live = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (front_address, live_address) = (front.local_addr().unwrap(), live.local_addr().unwrap());
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(front, vec![dead_address, live_address], stop.clone()));
        let mut client = TcpStream::connect(front_address).await.unwrap();
        let (mut served, _) = live.accept().await.unwrap();
        served.write_all(b"hi").await.unwrap();
        let mut answer = [0; 2];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"hi");
        stop.cancel();
        task.await.unwrap();
    }
}
