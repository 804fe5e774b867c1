//! Milvus' management paths of the garbage collector: backup tools pause it with them. The answers have the form of Milvus';
//! the pause itself is kept in the metadata and outlives the process.

use elanus_proto::admin::{
    GcPauseRequest, GcRequest, GcResumeRequest, gc_answer::What as Answer, gc_request::What as Ask,
};
use elanus_proto::datacoord::data_coord_client::DataCoordClient;
use elanus_proto::transport::{Channel, datacoord_client};
use elanus_runtime::management::Management;
use serde_json::{Value, json};
use std::collections::HashMap;

type Query = HashMap<String, String>;

/// Serves both paths; `coordinator` is whoever coordinates.
pub(super) fn serve(management: Management, coordinator: Channel) -> Management {
    let (pauses, resumes) = (coordinator.clone(), coordinator);
    management
        .change("/management/datacoord/garbage_collection/pause", move |query| {
            let channel = pauses.clone();
            Box::pin(async move { pause(datacoord_client(channel), &query).await })
        })
        .change("/management/datacoord/garbage_collection/resume", move |query| {
            let channel = resumes.clone();
            Box::pin(async move { resume(datacoord_client(channel), &query).await })
        })
}

/// `?pause_seconds=N[&collection_id=C]`
async fn pause(coordinator: DataCoordClient<Channel>, query: &Query) -> (u16, Value) {
    let (seconds, collection_id) = match (number(query, "pause_seconds"), optional(query, "collection_id")) {
        (Ok(seconds), Ok(collection)) => (seconds, collection),
        (Err(text), _) | (_, Err(text)) => return (400, json!({"msg": text})),
    };
    let ask = GcPauseRequest { seconds, collection_id, ..GcPauseRequest::default() };
    match ask_for(coordinator, Ask::Pause(ask)).await {
        Ok(Some(Answer::Pause(paused))) => (200, json!({"msg": "OK", "ticket": paused.ticket.to_string()})),
        Ok(_) => (500, json!({"msg": "failed to pause garbage collection, the coordinator answers something else"})),
        Err(why) => (500, json!({"msg": format!("failed to pause garbage collection, {why}")})),
    }
}

/// `?ticket=T`
async fn resume(coordinator: DataCoordClient<Channel>, query: &Query) -> (u16, Value) {
    let ticket = match optional(query, "ticket") {
        Ok(ticket) => ticket,
        Err(text) => return (400, json!({"msg": text})),
    };
    match ask_for(coordinator, Ask::Resume(GcResumeRequest { ticket, collection_id: 0 })).await {
        Ok(_) => (200, json!({"msg": "OK"})),
        Err(why) => (500, json!({"msg": format!("failed to resume garbage collection, {why}")})),
    }
}

async fn ask_for(mut coordinator: DataCoordClient<Channel>, ask: Ask) -> Result<Option<Answer>, String> {
    let request = GcRequest { actor: "management".to_owned(), what: Some(ask) };
    let answer = coordinator.gc(request).await.map_err(|status| status.message().to_owned())?;
    Ok(answer.into_inner().what)
}

fn number(query: &Query, name: &str) -> Result<i64, String> {
    let text = query.get(name).map_or("", String::as_str);
    text.parse().map_err(|_| format!("{name} is {text:?}, which is not a number"))
}

/// 0 where it is not given.
fn optional(query: &Query, name: &str) -> Result<i64, String> {
    match query.get(name).map(String::as_str) {
        None | Some("") => Ok(0),
        Some(_) => number(query, name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_named() {
        let query = Query::from([("a".to_owned(), "7".to_owned()), ("b".to_owned(), "x".to_owned())]);
        assert_eq!((number(&query, "a"), optional(&query, "c")), (Ok(7), Ok(0)));
        assert_eq!(optional(&query, "b").unwrap_err(), "b is \"x\", which is not a number");
        assert!(number(&query, "c").is_err());
    }
}
