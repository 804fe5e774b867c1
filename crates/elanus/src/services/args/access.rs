//! Whether clients must say who they are.

use clap::Args;
use elanus_proxy::{Proxy, ProxyConfig};

/// Of every process that clients connect to.
#[derive(Clone, Debug, Default, Args)]
pub(in crate::services) struct AccessArgs {
    /// Clients must show a user with its password, and may do what its roles may. The first user is root, with the password
    /// Milvus: change it at once
    #[arg(
        long,
        value_name = "BOOL",
        env = "ELANUS_AUTHORIZATION_ENABLED",
        action = clap::ArgAction::Set,
        default_value = "false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    authorization_enabled: bool,
    /// Users, separated by commas, who may give others a new password without knowing the old one
    #[arg(long, value_name = "USER,…", env = "ELANUS_SUPER_USERS", value_delimiter = ',')]
    super_users: Vec<String>,
}

impl AccessArgs {
    /// What a proxy is told.
    pub(in crate::services) fn config(&self) -> ProxyConfig {
        let mut config = ProxyConfig::default();
        config.super_users.clone_from(&self.super_users);
        config
    }

    /// A proxy that asks who calls, where that is wanted.
    pub(in crate::services) fn guard(&self, proxy: Proxy) -> Proxy {
        if self.authorization_enabled { proxy.with_authorization() } else { proxy }
    }

    /// Tells in the log what a person must do before anybody connects.
    pub(in crate::services) async fn warn(&self, proxy: &Proxy) {
        if !self.authorization_enabled {
            return;
        }
        match tokio::time::timeout(LOOK_MAX, proxy.has_default_password()).await {
            Ok(Ok(false)) => tracing::info!("clients must show a user and its password"),
            Ok(Ok(true)) => tracing::warn!(
                "clients must show a user and its password, and root still has the password that everybody knows: change it, \
                 with elanus ctl user password root"
            ),
            Ok(Err(failure)) => {
                tracing::warn!("whether root has the default password could not be looked up: {failure}")
            }
            Err(_) => tracing::warn!("whether root has the default password could not be looked up in time"),
        }
    }
}

/// Longest wait for a coordinator at the start.
const LOOK_MAX: std::time::Duration = std::time::Duration::from_secs(5);
