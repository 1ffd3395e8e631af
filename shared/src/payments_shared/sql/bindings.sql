-- Since when each service hears each type: `asked_at` before its queue was bound, `made_at` after. Who looks for what was
-- lost looks from the one on, and who demands that all was heard from the other: in between it may be either.
DO $$
BEGIN
    IF to_regclass('payments.bindings') IS NOT NULL THEN
        RETURN;
    END IF;
    CREATE TABLE payments.bindings (
        type text,
        service text,
        asked_at timestamptz NOT NULL DEFAULT now(),
        made_at timestamptz,
        PRIMARY KEY (type, service)
    );
    -- What was heard when this table was new counts as heard since ever, also by a later release that finds none. New
    -- bindings are not added here: those are as old as their first provisioning.
    INSERT INTO payments.bindings (type, service, asked_at, made_at)
    SELECT type, service, '-infinity', '-infinity'
      FROM (VALUES
        ('checkout', '
            stripe.checkout.session.completed stripe.checkout.session.async_payment_succeeded
            stripe.checkout.session.async_payment_failed stripe.checkout.session.expired
            stripe.payment_intent.succeeded stripe.payment_intent.payment_failed
            stripe.payment_intent.amount_capturable_updated stripe.payment_intent.canceled
            stripe.setup_intent.succeeded stripe.payment_method.attached stripe.payment_method.updated
            stripe.payment_method.automatically_updated stripe.payment_method.detached stripe.customer.deleted
            stripe.charge.succeeded stripe.charge.failed stripe.review.opened stripe.review.closed
            stripe.radar.early_fraud_warning.created stock.committed.v1 stock.released.v1 stock.shortfall.v1
            shipment.created.v1 shipment.shipped.v1 shipment.delivered.v1 shipment.canceled.v1
            shipment.returned.v1 digital.delivered.v1 refund.requested.v1 refund.approved.v1 refund.rejected.v1
            refund.succeeded.v1 refund.failed.v1 refund.canceled.v1 dispute.opened.v1 dispute.won.v1
            dispute.lost.v1 store_credit.issued.v1 checkout.cmd.fetch_session.v1
            checkout.cmd.fetch_payment_intent.v1 checkout.cmd.resume_order.v1 checkout.cmd.expire_session.v1
            checkout.cmd.cancel_payment_intent.v1 checkout.cmd.abandon_order.v1
            checkout.cmd.fetch_payment_method.v1 checkout.cmd.find_order.v1'),
        ('inventory', '
            order.processing.v1 order.paid.v1 order.payment_failed.v1 order.payment_retrying.v1 order.expired.v1
            order.canceled.v1 shipment.canceled.v1 shipment.returned.v1'),
        ('fulfillment', '
            order.paid.v1 order.held.v1 order.unheld.v1 stock.committed.v1 refund.approved.v1 refund.rejected.v1
            refund.succeeded.v1 refund.failed.v1 refund.canceled.v1 dispute.opened.v1 dispute.won.v1
            dispute.lost.v1'),
        ('refunds', '
            stripe.charge.succeeded stripe.refund.created stripe.refund.updated stripe.refund.failed
            stripe.charge.refunded stripe.charge.dispute.created stripe.charge.dispute.updated
            stripe.charge.dispute.closed stripe.charge.dispute.funds_withdrawn
            stripe.charge.dispute.funds_reinstated stripe.radar.early_fraud_warning.created
            stripe.radar.early_fraud_warning.updated order.placed.v1 order.paid.v1 order.refund_due.v1
            store_credit.booked.v1 store_credit.released.v1 store_credit.refused.v1 stock.shortfall.v1
            shipment.created.v1 shipment.shipped.v1 shipment.delivered.v1 shipment.canceled.v1
            shipment.returned.v1 digital.delivered.v1 notification.sent.v1 refunds.cmd.submit.v1
            refunds.cmd.check.v1 refunds.cmd.find.v1 refunds.cmd.fetch_dispute.v1 refunds.cmd.find_disputes.v1
            refunds.cmd.submit_evidence.v1'),
        ('notifications', '
            order.placed.v1 order.paid.v1 order.payment_failed.v1 order.payment_retrying.v1 order.expired.v1
            order.held.v1 order.credit_returned.v1 order.sold_out.v1 payment_method.expiring.v1 stock.low.v1
            shipment.shipped.v1 shipment.delivered.v1 refund.pending.v1 refund.succeeded.v1 refund.failed.v1
            refund.canceled.v1 refund.left_to_staff.v1 dispute.opened.v1 dispute.won.v1 dispute.lost.v1
            dispute.due.v1 notifications.cmd.deliver.v1'),
        ('operations', '
            stripe.checkout.session.completed stripe.checkout.session.async_payment_succeeded
            stripe.checkout.session.async_payment_failed stripe.checkout.session.expired
            stripe.payment_intent.succeeded stripe.payment_intent.payment_failed
            stripe.payment_intent.amount_capturable_updated stripe.payment_intent.canceled
            stripe.setup_intent.succeeded stripe.payment_method.attached stripe.payment_method.updated
            stripe.payment_method.automatically_updated stripe.payment_method.detached stripe.customer.deleted
            stripe.charge.succeeded stripe.charge.failed stripe.refund.created stripe.refund.updated
            stripe.refund.failed stripe.charge.refunded stripe.charge.dispute.created
            stripe.charge.dispute.updated stripe.charge.dispute.closed stripe.charge.dispute.funds_withdrawn
            stripe.charge.dispute.funds_reinstated stripe.review.opened stripe.review.closed
            stripe.radar.early_fraud_warning.created stripe.radar.early_fraud_warning.updated order.placed.v1
            order.processing.v1 order.paid.v1 order.payment_failed.v1 order.payment_retrying.v1 order.expired.v1
            order.canceled.v1 order.held.v1 order.unheld.v1 order.refund_due.v1 order.credit_returned.v1
            order.sold_out.v1 payment_method.expiring.v1 store_credit.booked.v1 store_credit.released.v1
            store_credit.refused.v1 stock.committed.v1 stock.released.v1 stock.shortfall.v1 stock.low.v1
            shipment.created.v1 shipment.shipped.v1 shipment.delivered.v1 shipment.canceled.v1
            shipment.returned.v1 digital.delivered.v1 refund.requested.v1 refund.approved.v1 refund.rejected.v1
            refund.pending.v1 refund.succeeded.v1 refund.failed.v1 refund.canceled.v1 refund.left_to_staff.v1
            dispute.opened.v1 dispute.won.v1 dispute.lost.v1 dispute.due.v1 store_credit.issued.v1
            notification.sent.v1 notification.failed.v1 dead_letter.resolved.v1')
      ) AS known (service, types), regexp_split_to_table(trim(types, E' \n'), '\s+') AS type;
END
$$;
