"""Words by which inference recognises tables and roles. All in lowercase."""

from __future__ import annotations

import re

TABLE_NAMES: dict[str, tuple[str, ...]] = {
    "accounts": ("accounts", "account", "customers", "customer", "companies", "clients", "tenants", "users"),
    "subscriptions": ("subscriptions", "subscription", "contracts", "memberships"),
    "orders": ("orders", "order", "purchases", "transactions", "sales", "order_lines", "receipts"),
    "usage": ("usage", "feature_usage", "product_usage", "daily_usage", "activity", "activities", "events"),
    "invoices": ("invoices", "invoice", "payments", "billing", "charges"),
    "tickets": ("tickets", "support_tickets", "cases", "support_cases"),
    "surveys": ("surveys", "survey", "nps", "nps_surveys", "survey_responses"),
    "marketing": ("marketing", "touches", "marketing_touches", "campaigns", "emails"),
    "interventions": ("interventions", "retention_actions", "plays"),
    "churn_events": ("churn_events", "churn", "churns", "cancellations", "cancelations", "departures"),
}
ENTITY_NAMES = (
    "account_id",
    "customer_id",
    "client_id",
    "company_id",
    "tenant_id",
    "accountid",
    "customerid",
    "user_id",
    "member_id",
)
INGESTED_NAMES = (
    "ingested_at",
    "loaded_at",
    "_ingested_at",
    "synced_at",
    "_fivetran_synced",
    "_loaded_at",
    "etl_loaded_at",
)
EVENT_TIMES: dict[str, tuple[str, ...]] = {
    "accounts": (
        "created_at",
        "signup_date",
        "signed_up_at",
        "signup_at",
        "registered_at",
        "created",
        "start_date",
    ),
    "subscriptions": ("started_at", "start_date", "starts_at", "valid_from", "created_at"),
    "usage": ("usage_date", "event_time", "occurred_at", "date", "day", "timestamp", "event_date"),
    "orders": (
        "ordered_at",
        "order_date",
        "order_time",
        "purchase_date",
        "purchased_at",
        "transaction_date",
        "invoice_date",
        "invoicedate",
        "orderdate",
        "created_at",
        "date",
        "timestamp",
        "event_time",
    ),
    "invoices": ("issued_at", "invoice_date", "invoiced_at", "created_at", "date", "payment_date"),
    "tickets": ("opened_at", "submitted_at", "created_at", "opened_date"),
    "surveys": ("answered_at", "responded_at", "survey_date", "submitted_at", "created_at"),
    "marketing": ("sent_at", "touched_at", "sent_date", "created_at", "date"),
    "interventions": ("assigned_at", "created_at", "started_at"),
    "churn_events": (
        "effective_at",
        "churn_date",
        "churned_at",
        "cancelled_at",
        "canceled_at",
        "ended_at",
        "date",
    ),
}
HELPERS: dict[str, dict[str, tuple[str, ...]]] = {
    "subscriptions": {
        "ended_recorded_at": ("ended_at", "end_date", "ends_at"),
        "ended_at": ("ended_at",),
        "end_date": ("end_date",),
    },
    "invoices": {
        "payment_recorded_at": ("paid_at", "failed_attempts", "paid_date"),
        "paid_at": ("paid_at", "failed_attempts"),
        "paid_date": ("paid_date",),
    },
    "tickets": {
        "closed_recorded_at": (
            "closed_at",
            "csat",
            "first_response_hours",
            "satisfaction_score",
            "resolution_time_hours",
        ),
        "closed_at": (
            "closed_at",
            "csat",
            "satisfaction_score",
            "resolution_time_hours",
            "first_response_hours",
            "first_response_time_minutes",
            "escalation_flag",
        ),
        "resolved_at": ("resolved_at", "csat", "satisfaction_score"),
    },
}
"""Table → the column that says when → columns known since then. The first that is there wins."""
CANONICAL: dict[str, dict[str, str]] = {
    "accounts": {
        "plan_tier": "plan",
        "account_owner": "owner",
        "csm": "owner",
        "referral_source": "signup_channel",
    },
    "subscriptions": {
        "plan_tier": "plan",
        "plan_name": "plan",
        "n_seats": "seats",
        "quantity": "seats",
        "mrr_amount": "mrr",
        "monthly_price": "mrr",
        "end_date": "ended_at",
        "ends_at": "ended_at",
        "billing_frequency": "billing_period",
        "renewal_date": "renews_at",
        "next_renewal": "renews_at",
    },
    "usage": {
        "usage_count": "core_actions",
        "error_count": "errors",
        "sessions": "logins",
        "usage_duration_secs": "seconds",
    },
    "orders": {
        **dict.fromkeys(("invoiceno", "invoice_no", "invoice", "invoice_id", "orderno", "order_no"), "order_id"),
        **dict.fromkeys(("orderid", "transaction_id", "receipt_id", "basket_id"), "order_id"),
        **dict.fromkeys(("stockcode", "stock_code", "sku", "item_id", "article_id", "productid"), "product_id"),
        **dict.fromkeys(("qty", "units", "items"), "quantity"),
        **dict.fromkeys(("unitprice", "price", "price_per_unit"), "unit_price"),
        **dict.fromkeys(("total", "value", "sales", "line_total", "total_amount", "revenue"), "amount"),
        **dict.fromkeys(("department", "product_category", "product_group"), "category"),
        **{name: name for name in ("order_id", "product_id", "quantity", "unit_price", "amount", "category")},
    },
    "invoices": {"amount_due": "amount", "total": "amount", "due_date": "due_at", "paid_date": "paid_at"},
    "tickets": {"satisfaction_score": "csat", "resolved_at": "closed_at"},
    "surveys": {"score": "nps", "nps_score": "nps"},
    "churn_events": {"reason_code": "reason", "churn_type": "kind", "type": "kind"},
}
"""Company's column name → the canonical name under which features know it."""
CONSTANT = frozenset(
    (
        "industry",
        "region",
        "country",
        "signupchannel",
        "referralsource",
        "acquisitionchannel",
        "sector",
        "currency",
    )
)
CHANGING = frozenset(
    ("plan", "plantier", "owner", "csm", "companysize", "seats", "status", "mrr", "healthscore", "istrial")
)
KIND_NAMES = ("kind", "churn_type", "type", "churn_kind", "reason_code", "reason", "churn_reason")
FLAG_NAMES = re.compile(r"(is|has)?(churn(ed)?|left|cancell?ed|attrited|terminated)(flag)?")
OUTCOME = re.compile(r"churn|attrit|iscancel|cancelled|canceled|healthscore|riskscore")
INVOLUNTARY = re.compile(r"^involuntary$|payment|dunning|declined|card|non.?pay|fraud|bankrupt", re.IGNORECASE)
