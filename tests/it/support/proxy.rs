//! A network between the program and a server, which can fail.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::server::TestServer;

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    Passes,
    /// Everything takes so long, each way.
    Slow(Duration),
    /// Nothing gets through, and nobody is told.
    Frozen,
    /// Connections are broken, and new ones too.
    Cut,
}

/// Forwards a port of its own to a server, which can be changed.
pub struct Proxy {
    pub port: u16,
    state: Arc<watch::Sender<Network>>,
    target: Arc<watch::Sender<(String, u16)>>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub async fn to(server: &TestServer) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(watch::Sender::new(Network::Passes));
        let target = Arc::new(watch::Sender::new((server.host.clone(), server.port)));
        let task = tokio::spawn({
            let (state, target) = (state.clone(), target.clone());
            async move {
                loop {
                    let Ok((client, _)) = listener.accept().await else {
                        continue;
                    };
                    if *state.borrow() == Network::Cut {
                        continue;
                    }
                    let address = target.borrow().clone();
                    let Ok(server) = TcpStream::connect(address).await else {
                        continue;
                    };
                    tokio::spawn(forward(client, server, state.subscribe()));
                }
            }
        });
        Proxy {
            port,
            state,
            target,
            task,
        }
    }

    /// The server as it is seen through the network.
    pub fn server(&self, server: &TestServer) -> TestServer {
        TestServer {
            host: "127.0.0.1".to_string(),
            port: self.port,
            ..server.clone()
        }
    }

    pub fn set(&self, network: Network) {
        self.state.send_replace(network);
    }

    /// New connections go to this server: a name that moves.
    pub fn move_to(&self, server: &TestServer) {
        self.target.send_replace((server.host.clone(), server.port));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Forwards both ways until one side has ended, or the network is cut.
async fn forward(client: TcpStream, server: TcpStream, state: watch::Receiver<Network>) {
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    tokio::select! {
        () = one_way(client_read, server_write, state.clone()) => {}
        () = one_way(server_read, client_write, state) => {}
    }
}

async fn one_way(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut state: watch::Receiver<Network>,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let now = *state.borrow_and_update();
        let read = match now {
            Network::Cut => return,
            Network::Frozen => {
                if state.changed().await.is_err() {
                    return;
                }
                continue;
            }
            Network::Passes | Network::Slow(_) => tokio::select! {
                read = from.read(&mut buffer) => read,
                changed = state.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
            },
        };
        let Ok(count @ 1..) = read else { return };
        if let Network::Slow(delay) = now {
            tokio::time::sleep(delay).await;
        }
        // What came just before the network froze may still get through.
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
