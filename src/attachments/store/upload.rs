//! A file on its way into the store: one request if it is small, parts if it is not, nothing if it breaks off.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayloadMut};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::said;

/// What is handed to the store at once, in bytes: the least that S3 takes as a part.
pub const PART_BYTES: usize = 5 * 1024 * 1024;

/// What a store may take for the bytes of a request, beside its answer: slower, and it counts as failed.
const PER_MIB: Duration = Duration::from_secs(1);

/// Pauses between attempts to take parts back.
const ABORT_WAITS: [Duration; 8] = {
    let seconds = Duration::from_secs;
    [seconds(1), seconds(2), seconds(4), seconds(8), seconds(16), seconds(32), seconds(64), seconds(128)]
};

/// Bytes that the store is given and nobody can read yet. If it is dropped before it is published, what the store
/// was given is taken back in the background.
pub struct Upload {
    objects: Arc<dyn ObjectStore>,
    path: Path,
    answer_within: Duration,
    /// Less than a part, once a push is over.
    buffer: PutPayloadMut,
    parts: Option<Parts>,
}

/// An upload that is too large for one request.
struct Parts {
    upload: Box<dyn MultipartUpload>,
    /// The part under way: one at a time, so that memory stays within two parts.
    sending: Option<JoinHandle<Result<(), String>>>,
}

impl Upload {
    /// An upload to `path`; a request without bytes is answered within `answer_within`, or has failed.
    pub fn new(objects: Arc<dyn ObjectStore>, path: Path, answer_within: Duration) -> Self {
        Self { objects, path, answer_within, buffer: PutPayloadMut::new(), parts: None }
    }

    /// Takes a copy of more bytes, since a kept chunk would hold on to the connection's whole read buffer. Waits while
    /// two parts wait for the store.
    ///
    /// # Errors
    /// What the store says, or that it does not answer.
    pub async fn push(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            let room = PART_BYTES - self.buffer.content_length();
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if now.len() == room {
                self.send_part().await?;
            }
        }
        Ok(())
    }

    /// Makes an object of all that was pushed.
    ///
    /// # Errors
    /// What the store says, or that it does not answer; then there may be an object or not.
    pub async fn publish(mut self) -> Result<(), String> {
        if self.parts.is_none() {
            let limit = self.limit();
            let payload = std::mem::take(&mut self.buffer).freeze();
            return within(limit, self.objects.put(&self.path, payload)).await.map(drop);
        }
        if !self.buffer.is_empty() {
            self.send_part().await?;
        }
        if let Some(parts) = &mut self.parts {
            parts.sent().await?;
            within(self.answer_within, parts.upload.complete()).await?;
            self.parts = None;
        }
        Ok(())
    }

    /// Takes back what the store was given; in the background, if that does not succeed at once.
    pub async fn abort(mut self) {
        if let Some(parts) = &mut self.parts
            && parts.abort(self.answer_within).await.is_ok()
        {
            self.parts = None;
        }
    }

    async fn send_part(&mut self) -> Result<(), String> {
        if self.parts.is_none() {
            let upload = within(self.answer_within, self.objects.put_multipart(&self.path)).await?;
            self.parts = Some(Parts { upload, sending: None });
        }
        let limit = self.limit();
        if let Some(parts) = &mut self.parts {
            parts.sent().await?;
            let part = parts.upload.put_part(std::mem::take(&mut self.buffer).freeze());
            parts.sending = Some(tokio::spawn(within(limit, part)));
        }
        Ok(())
    }

    /// How long a request with what is buffered may take.
    fn limit(&self) -> Duration {
        let mebibytes = self.buffer.content_length().div_ceil(1024 * 1024);
        self.answer_within.saturating_add(PER_MIB.saturating_mul(u32::try_from(mebibytes).unwrap_or(u32::MAX)))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(parts) = self.parts.take() {
            let answer_within = self.answer_within;
            tokio::spawn(parts.abort_in_the_end(answer_within));
        }
    }
}

impl Parts {
    async fn sent(&mut self) -> Result<(), String> {
        match self.sending.take() {
            Some(sending) => sending.await.unwrap_or_else(|error| Err(error.to_string())),
            None => Ok(()),
        }
    }

    /// A part under way ends first: one that arrived after the abort would stay.
    async fn abort(&mut self, answer_within: Duration) -> Result<(), String> {
        self.sent().await.ok();
        within(answer_within, self.upload.abort()).await
    }

    /// Tries for some minutes, for a store that is away: nothing else knows of these parts.
    async fn abort_in_the_end(mut self, answer_within: Duration) {
        for wait in ABORT_WAITS {
            match self.abort(answer_within).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, "parts of a broken upload could not be deleted yet"),
            }
            tokio::time::sleep(wait).await;
        }
        tracing::warn!("parts of a broken upload are left to the bucket's lifecycle rule");
    }
}

/// What a store answers in time.
pub async fn within<T>(limit: Duration, answer: impl Future<Output = object_store::Result<T>>) -> Result<T, String> {
    match timeout(limit, answer).await {
        Ok(answer) => answer.map_err(|error| said(&error)),
        Err(_) => Err(no_answer(limit)),
    }
}

/// What is said of a store that does not answer.
pub fn no_answer(limit: Duration) -> String {
    format!("the store did not answer within {} s", limit.as_secs())
}
