//! A payment that must not happen twice and whose outcome is lost when the engine stops: an idempotency key where the bank
//! takes one, and a step that runs once, with somebody to ask, where it does not.

use outlive::{
    Ctx, Engine, HandlerError, OpenError, Reconciled, Resolution, StepOptions, TaskDef, WaitReason,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

const PAY: TaskDef<Invoice, Receipt> = TaskDef::new("pay");
const ONCE: StepOptions = StepOptions::new().once();

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Invoice {
    number: String,
    cents: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Receipt {
    reference: String,
}

/// What the outside world remembers, whatever becomes of our process.
#[derive(Default)]
struct Bank {
    paid: Mutex<BTreeMap<String, u64>>,
    /// The money has gone, and the answer is on its way.
    transferred: Notify,
    /// Whether answers arrive.
    answers: Mutex<bool>,
}

impl Bank {
    /// Moves the money. The answer may never come.
    async fn transfer(&self, invoice: &Invoice) -> Result<Receipt, std::io::Error> {
        let reference = format!("transfer for {}", invoice.number);
        *self.paid.lock().entry(reference.clone()).or_default() += invoice.cents;
        self.transferred.notify_one();
        if !*self.answers.lock() {
            std::future::pending::<()>().await;
        }
        Ok(Receipt { reference })
    }

    /// What it knows of an invoice, when it answers questions.
    fn statement(&self, invoice: &Invoice) -> Option<Receipt> {
        let reference = format!("transfer for {}", invoice.number);
        let paid = self.paid.lock().contains_key(&reference);
        paid.then_some(Receipt { reference })
    }

    fn paid(&self, invoice: &Invoice) -> u64 {
        let reference = format!("transfer for {}", invoice.number);
        self.paid.lock().get(&reference).copied().unwrap_or(0)
    }
}

/// Whether the program can ask the bank what became of a transfer.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Statements {
    No,
    Yes,
}

async fn pay(
    ctx: Ctx,
    invoice: Invoice,
    bank: Arc<Bank>,
    statements: Statements,
) -> Result<Receipt, HandlerError> {
    // A bank that takes an idempotency key needs no more than this: the key is the same after every crash.
    let key = ctx.step_with("quote", StepOptions::new(), |s| async move {
        Ok::<_, std::io::Error>(s.effect_id())
    });
    println!("  {} under the key {}", invoice.number, key.await?);
    let transfer = |_| bank.transfer(&invoice);
    let ask = |_| {
        let known = match (statements, bank.statement(&invoice)) {
            (Statements::No, _) => Reconciled::Unknown,
            (Statements::Yes, Some(receipt)) => Reconciled::Done(receipt),
            (Statements::Yes, None) => Reconciled::NotDone,
        };
        std::future::ready(Ok(known))
    };
    Ok(ctx.step_reconciled("transfer", ONCE, transfer, ask).await?)
}

/// What the program does whenever it is started.
async fn open(path: &Path, bank: &Arc<Bank>, statements: Statements) -> Result<Engine, OpenError> {
    let bank = Arc::clone(bank);
    let handler = move |ctx, invoice| pay(ctx, invoice, Arc::clone(&bank), statements);
    Engine::builder(path).task(PAY, handler).open().await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("payment.redb");
    let bank = Arc::new(Bank::default());
    let [first, second] = [("2041", 1_200), ("2042", 99)].map(|(number, cents)| Invoice {
        number: number.to_owned(),
        cents,
    });
    somebody_says_what_became_of_it(&path, &bank, &first).await?;
    the_program_asks_the_bank(&path, &bank, &second).await?;
    for invoice in [&first, &second] {
        println!(
            "{}: {} cents paid, once",
            invoice.number,
            bank.paid(invoice)
        );
        assert_eq!(bank.paid(invoice), invoice.cents);
    }
    Ok(())
}

/// The money goes, and the process dies before the answer comes.
async fn interrupted(
    path: &Path,
    bank: &Arc<Bank>,
    invoice: &Invoice,
) -> Result<(), Box<dyn Error>> {
    *bank.answers.lock() = false;
    println!(
        "{}: the money goes, and the engine stops before the answer comes",
        invoice.number
    );
    let engine = open(path, bank, Statements::No).await?;
    engine.start(PAY, &invoice.number, invoice).await?;
    bank.transferred.notified().await;
    engine.shutdown(Duration::ZERO).await;
    *bank.answers.lock() = true;
    Ok(())
}

async fn somebody_says_what_became_of_it(
    path: &Path,
    bank: &Arc<Bank>,
    invoice: &Invoice,
) -> Result<(), Box<dyn Error>> {
    interrupted(path, bank, invoice).await?;
    let engine = open(path, bank, Statements::No).await?;
    let mut seen = engine.watch(&invoice.number);
    while seen
        .changed()
        .await?
        .is_some_and(|task| task.wait.is_none())
    {}
    let task = engine.get(&invoice.number).await?.ok_or("it is gone")?;
    let step = "transfer".into();
    assert_eq!(task.wait, Some(WaitReason::UnknownOutcome { step }));
    println!(
        "  {}",
        engine.explain(&invoice.number).await?.ok_or("it is gone")?
    );
    println!("  somebody looks at the statement, and says so");
    let receipt = bank.statement(invoice).ok_or("it was paid")?;
    let done = Resolution::done(&receipt);
    engine.resolve(&invoice.number, "transfer", done).await?;
    let run = engine.attach(PAY, &invoice.number).await?;
    assert_eq!(run.result().await?, receipt);
    engine.shutdown(Duration::ZERO).await;
    Ok(())
}

async fn the_program_asks_the_bank(
    path: &Path,
    bank: &Arc<Bank>,
    invoice: &Invoice,
) -> Result<(), Box<dyn Error>> {
    interrupted(path, bank, invoice).await?;
    println!("  a program that can ask the bank needs nobody");
    let engine = open(path, bank, Statements::Yes).await?;
    let run = engine.attach(PAY, &invoice.number).await?;
    println!("  {}", run.result().await?.reference);
    engine.shutdown(Duration::ZERO).await;
    Ok(())
}
