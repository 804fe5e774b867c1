//! How the cluster is doing.

use crate::{Client, ClusterStatus, Result};
use elanus_proto::admin::StatusRequest;

impl Client {
    /// The processes of the cluster, who coordinates, and what waits.
    ///
    /// # Errors
    /// When no coordinator answers.
    pub async fn status(&self) -> Result<ClusterStatus> {
        self.read(|| {
            let mut admin = self.admin.clone();
            async move { admin.get_status(StatusRequest {}).await }
        })
        .await
    }
}
