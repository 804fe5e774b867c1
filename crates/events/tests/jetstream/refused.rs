//! What a consumer cannot handle: tried a number of times, then put aside with the reason.

use super::{SOON, bus, config, outsider, publish, task};
use elanus_events::{BusConfig, Handler, Item, Kind, Limits};
use elanus_testkit::{Nats, wait_for};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_handled_is_a_dead_letter_after_the_last_attempt() {
    let nats = Nats::start().await.unwrap();
    let limits = Limits { deliveries_max: 3, ..Limits::default() };
    let bus = bus(&BusConfig { limits, ..config(&nats) }, "c").await;
    let (looks, attempts, taken) =
        (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let handler: Handler = {
        let (looks, attempts, taken) = (Arc::clone(&looks), Arc::clone(&attempts), Arc::clone(&taken));
        Arc::new(move |item| match item {
            Item::Lagged => {
                looks.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
            Item::Event(event) if event.subject.id() == 7 => {
                attempts.fetch_add(1, Ordering::SeqCst);
                Err("seven is\r\ntoo much".to_owned())
            }
            Item::Event(_) => {
                taken.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        })
    };
    let consuming = Arc::clone(&bus);
    let consumer = tokio::spawn(async move { consuming.consume("name", &[Kind::Task], &handler).await });
    let reached = async |what: &str, count: &AtomicUsize, number: usize| {
        wait_for(what, SOON, async || {
            let found = count.load(Ordering::SeqCst);
            if found >= number { Ok(()) } else { Err(format!("{found} of {number}")) }
        })
        .await;
    };
    reached("the first look", &looks, 1).await;

    // One that the handler refuses, and one that is no event at all.
    let context = outsider(&nats).await;
    publish(&*bus, &task(7)).await;
    context.publish("elanus.c.task.8", "no event".into()).await.unwrap().await.unwrap();
    publish(&*bus, &task(9)).await;
    reached("the one behind them", &taken, 1).await;

    let mut dead = context.get_stream("elanus-dead-c").await.unwrap();
    wait_for("two dead letters", SOON, async || match dead.info().await.unwrap().state.messages {
        2 => Ok(()),
        other => Err(other),
    })
    .await;
    assert_eq!(attempts.load(Ordering::SeqCst), 3);
    for (sequence, subject, reason) in [
        (2, "elanus-dead.c.task.7", "seven is  too much"),
        (3, "elanus-dead.c.task.8", "the body is not that of an event"),
    ] {
        let letter = [1, 2].map(async |n| dead.get_raw_message(n).await.unwrap());
        let letters = futures::future::join_all(letter).await;
        let letter = letters.into_iter().find(|letter| letter.subject.as_str() == subject).unwrap();
        let header = |name: &str| letter.headers.get(name).unwrap().to_string();
        assert!(header("Elanus-Reason").starts_with(reason), "{}", header("Elanus-Reason"));
        assert_eq!(header("Elanus-Sequence"), sequence.to_string());
        assert_eq!((header("Elanus-Consumer"), header("Elanus-Deliveries")), ("name".to_owned(), "3".to_owned()));
    }
    // Ended: the server gives neither again.
    let events = context.get_stream("elanus-c").await.unwrap();
    let mut consumer_of = events.get_consumer::<async_nats::jetstream::consumer::pull::Config>("name").await.unwrap();
    wait_for("nothing under way", SOON, async || {
        let info = consumer_of.info().await.unwrap();
        if info.num_ack_pending == 0 && info.num_pending == 0 { Ok(()) } else { Err(format!("{info:?}")) }
    })
    .await;
    assert_eq!(attempts.load(Ordering::SeqCst), 3);
    consumer.abort();
}
