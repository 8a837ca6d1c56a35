//! What a server stands on.

use haggle::config::Config;

use super::{Database, S3, Server};

/// A database, and where files are.
pub struct Ground {
    database: Database,
    /// Whether files are in S3, and readers redirected there.
    redirect: Option<bool>,
}

impl Ground {
    /// Files in the data folder.
    pub fn folder(database: Database) -> Self {
        Self { database, redirect: None }
    }

    /// Files in a store of their own.
    pub fn s3(redirect: bool) -> Self {
        Self { database: Database::Sqlite, redirect: Some(redirect) }
    }

    /// Files in a store of their own, and what several nodes share.
    pub fn shared(database: Database) -> Self {
        Self { database, redirect: Some(false) }
    }

    /// A server with some settings changed.
    pub async fn server(&self, change: impl FnOnce(&mut Config)) -> Server {
        let Some(redirect) = self.redirect else { return Server::start_with(&self.database, change).await };
        let s3 = S3::start().await;
        let mut server = Server::start_with(&self.database, |config| {
            config.files = s3.place();
            config.redirect_to_files = redirect;
            change(config);
        })
        .await;
        server.s3 = Some(s3.into());
        server
    }
}
