//! `elanus ctl role`.

use super::Stop;
use crate::output::{Rendered, table};
use clap::{Args, Subcommand};
use elanus_client::{Client, Granted, Role};
use serde_json::{Value, json};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Roles and who has them
    #[command(visible_alias = "ls")]
    List,
    /// Create a role that may do nothing
    Create {
        name: String,
        /// What it is for
        #[arg(long, default_value = "")]
        description: String,
    },
    /// End a role
    Drop {
        name: String,
        /// Also when it may do something
        #[arg(long)]
        force: bool,
    },
    /// What a role may do
    Grants { role: String },
    /// Let a role do something
    Grant(Grant),
    /// Forbid a role something that it may do
    Revoke(Grant),
    /// Give a user a role
    Add { role: String, user: String },
    /// Take a role from a user
    Remove { role: String, user: String },
}

#[derive(Debug, Args)]
pub(super) struct Grant {
    role: String,
    /// A privilege of Milvus, such as Query, or a group of them, such as CollectionReadOnly
    privilege: String,
    /// A collection of the database that --db names
    #[arg(long, default_value = "*")]
    collection: String,
    /// In every database, whatever --db names
    #[arg(long)]
    all_databases: bool,
}

pub(super) async fn execute(client: &Client, db: &str, command: Command) -> Result<Rendered, Stop> {
    let security = client.security();
    let did = |text: String, json: Value| Rendered { text, json };
    Ok(match command {
        Command::List => list(&security.roles().await?),
        Command::Create { name, description } => {
            security.create_role(&name, &description).await?;
            did(format!("created role {name}"), json!({"name": name, "created": true}))
        }
        Command::Drop { name, force } => {
            security.drop_role(&name, force).await?;
            did(format!("dropped role {name}"), json!({"name": name, "dropped": true}))
        }
        Command::Grants { role } => grants(&security.grants(&role).await?),
        Command::Grant(grant) => set(client, db, grant, true).await?,
        Command::Revoke(grant) => set(client, db, grant, false).await?,
        Command::Add { role, user } => {
            security.set_member(&role, &user, true).await?;
            did(format!("{user} has the role {role}"), json!({"role": role, "user": user, "member": true}))
        }
        Command::Remove { role, user } => {
            security.set_member(&role, &user, false).await?;
            did(format!("{user} does not have the role {role}"), json!({"role": role, "user": user, "member": false}))
        }
    })
}

async fn set(client: &Client, db: &str, grant: Grant, is_granted: bool) -> Result<Rendered, Stop> {
    let Grant { role, privilege, collection, all_databases } = grant;
    let db = if all_databases { "*" } else { db };
    client.security().set_grant(&role, &privilege, db, &collection, is_granted).await?;
    let may = if is_granted { "may" } else { "may not any more" };
    Ok(Rendered {
        text: format!("{role} {may}: {privilege} on {collection} in {db}"),
        json: json!({"role": role, "privilege": privilege, "db": db, "collection": collection, "granted": is_granted}),
    })
}

fn list(roles: &[Role]) -> Rendered {
    let row = |role: &Role| vec![role.name.clone(), role.users.join(","), role.description.clone()];
    let json = |role: &Role| json!({"name": role.name, "users": role.users, "description": role.description});
    Rendered {
        text: table(&["ROLE", "USERS", "DESCRIPTION"], roles.iter().map(row)),
        json: roles.iter().map(json).collect::<Value>(),
    }
}

fn grants(grants: &[Granted]) -> Rendered {
    let cells = |grant: &Granted| {
        let Granted { object_type, db_name, object_name, privilege, grantor } = grant.clone();
        [privilege, db_name, object_name, object_type, grantor]
    };
    let json = |grant: &Granted| {
        let [privilege, db, object, kind, grantor] = cells(grant);
        json!({"privilege": privilege, "db": db, "object": object, "object_type": kind, "grantor": grantor})
    };
    Rendered {
        text: table(
            &["PRIVILEGE", "DATABASE", "OBJECT", "TYPE", "GIVEN BY"],
            grants.iter().map(|one| cells(one).to_vec()),
        ),
        json: grants.iter().map(json).collect::<Value>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_and_grants_as_tables_and_as_json() {
        let role = Role { name: "reader".into(), description: String::new(), users: vec!["ann".into(), "bob".into()] };
        let rendered = list(&[role]);
        assert_eq!(rendered.text, "ROLE    USERS    DESCRIPTION\nreader  ann,bob");
        assert_eq!(rendered.json, json!([{"name": "reader", "users": ["ann", "bob"], "description": ""}]));
        let [object_type, db_name, object_name, privilege, grantor] =
            ["Collection", "shop", "docs", "Query", "root"].map(str::to_owned);
        let rendered = grants(&[Granted { object_type, db_name, object_name, privilege, grantor }]);
        assert_eq!(
            rendered.text,
            "PRIVILEGE  DATABASE  OBJECT  TYPE        GIVEN BY\nQuery      shop      docs    Collection  root"
        );
        assert_eq!(rendered.json[0]["db"], "shop");
    }
}
