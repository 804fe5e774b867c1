//! `elanus ctl user`.

use super::Stop;
use crate::output::{Rendered, table};
use clap::{Args, Subcommand};
use elanus_client::{Client, User};
use serde_json::{Value, json};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Users and their roles
    #[command(visible_alias = "ls")]
    List,
    /// Create a user without roles
    Create {
        name: String,
        #[command(flatten)]
        new: NewPassword,
        /// What it is for
        #[arg(long, default_value = "")]
        description: String,
    },
    /// Give a user another password
    Password {
        name: String,
        /// The present one. Better in the environment, where others do not see it
        #[arg(
            long,
            value_name = "PASSWORD",
            env = "ELANUS_CTL_OLD_PASSWORD",
            hide_env_values = true,
            default_value = ""
        )]
        old_password: String,
        #[command(flatten)]
        new: NewPassword,
    },
    /// End a user
    Drop { name: String },
}

#[derive(Args)]
pub(super) struct NewPassword {
    /// The new password. Better in the environment, where others do not see it
    #[arg(long, value_name = "PASSWORD", env = "ELANUS_CTL_NEW_PASSWORD", hide_env_values = true)]
    new_password: String,
}

impl std::fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

pub(super) async fn execute(client: &Client, command: Command) -> Result<Rendered, Stop> {
    let security = client.security();
    Ok(match command {
        Command::List => list(&security.users().await?),
        Command::Create { name, new, description } => {
            security.create_user(&name, &new.new_password, &description).await?;
            Rendered { text: format!("created user {name}"), json: json!({"name": name, "created": true}) }
        }
        Command::Password { name, old_password, new } => {
            security.set_password(&name, &old_password, &new.new_password).await?;
            Rendered { text: format!("{name} has a new password"), json: json!({"name": name, "changed": true}) }
        }
        Command::Drop { name } => {
            security.drop_user(&name).await?;
            Rendered { text: format!("dropped user {name}"), json: json!({"name": name, "dropped": true}) }
        }
    })
}

fn list(users: &[User]) -> Rendered {
    let row = |user: &User| vec![user.name.clone(), user.roles.join(","), user.description.clone()];
    let json = |user: &User| json!({"name": user.name, "roles": user.roles, "description": user.description});
    Rendered {
        text: table(&["USER", "ROLES", "DESCRIPTION"], users.iter().map(row)),
        json: users.iter().map(json).collect::<Value>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_as_a_table_and_as_json() {
        let user = |name: &str, roles: &[&str]| User {
            name: name.to_owned(),
            description: "of the shop".to_owned(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        };
        let rendered = list(&[user("ann", &["admin", "reader"]), user("bob", &[])]);
        assert_eq!(
            rendered.text,
            "USER  ROLES         DESCRIPTION\nann   admin,reader  of the shop\nbob                 of the shop"
        );
        let expected = json!({"name": "ann", "roles": ["admin", "reader"], "description": "of the shop"});
        assert_eq!(rendered.json[0], expected);
    }
}
