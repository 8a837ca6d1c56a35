//! nginx with nchan, as one would tune it for this: one worker, everything in memory, no access log, long-lived
//! connections for publishers, a small buffer of messages for each channel.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::{SERVER_CPU, pin};

const MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

/// A running nginx; ended when it is dropped.
pub struct Nchan {
    pub address: SocketAddr,
    /// The process that serves.
    pub worker: u32,
    master: Child,
    #[expect(dead_code, reason = "deleted when this is dropped")]
    folder: tempfile::TempDir,
}

impl Nchan {
    /// Starts one; says what to install if it is not here.
    pub fn start() -> Option<Self> {
        if !Path::new(MODULE).exists() {
            println!("nchan is not here: install Debian's nginx and libnginx-mod-nchan to compare with it.");
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
        std::fs::write(folder.path().join("nginx.conf"), configuration(address)).expect("its configuration");
        let mut nginx = Command::new("nginx");
        nginx.arg("-p").arg(folder.path()).args(["-e", "error.log", "-c", "nginx.conf"]);
        let master = pin(SERVER_CPU, &nginx).stderr(Stdio::null()).spawn().expect("nginx runs");
        while TcpStream::connect(address).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let children = format!("/proc/{0}/task/{0}/children", master.id());
        let worker = loop {
            let children = std::fs::read_to_string(&children).expect("nginx runs");
            if let Some(worker) = children.split_whitespace().find_map(|pid| pid.parse().ok()) {
                break worker;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        Some(Self { address, worker, master, folder })
    }
}

impl Drop for Nchan {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.master.id().to_string()]).status();
        let _ = self.master.wait();
    }
}

fn configuration(address: SocketAddr) -> String {
    format!(
        "daemon off; worker_processes 1; worker_rlimit_nofile 20000; pid nginx.pid; load_module {MODULE};
        events {{ worker_connections 19900; }}
        http {{
            access_log off; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout 1h;
            client_body_in_single_buffer on; nchan_shared_memory_size 256M;
            client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
            uwsgi_temp_path uwsgi; scgi_temp_path scgi;
            server {{
                listen {address} backlog=4096;
                location ~ ^/sub/(.+)$ {{
                    nchan_subscriber eventsource; nchan_channel_id $1; nchan_subscriber_first_message newest;
                }}
                location ~ ^/pub/(.+)$ {{
                    nchan_publisher; nchan_channel_id $1;
                    nchan_message_buffer_length 8; nchan_message_timeout 1m;
                }}
            }}
        }}"
    )
}
