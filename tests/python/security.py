"""Users, roles, privileges: a server that asks who calls. Its log is in the second argument."""

import base64
import sys
import time

import grpc
from harness import CALL_MAX_S, count, keys, refused, restore, rows, run, same, small_collection, small_row, url
from pymilvus import DataType, MilvusClient
from pymilvus.client.prepare import Prepare
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc

LOG = sys.argv[2]
SECRETS = ["Milvus", "first-secret", "second-secret", "third-secret", "wrong-secret"]


def connect(user, password, **options):
    return MilvusClient(url(), token=f"{user}:{password}", timeout=CALL_MAX_S, **options)


def fresh(client, user, *roles, password="first-secret"):
    """A user with these roles, and a client of it."""
    client.create_user(user, password)
    for role in roles:
        client.grant_role(user, role)
    return connect(user, password)


def denied(privilege, user, db="default"):
    """The block must be refused in Milvus' words."""

    class Denied:
        def __enter__(self):
            return self

        def __exit__(self, kind, error, _):
            assert kind is not None, f"not denied: {privilege}"
            text = str(error)
            assert "permission deny to " + user in text and f"in the `{db}` database" in text, text
            assert text.find(f"Privilege{privilege}: permission deny") >= 0, text
            return True

    return Denied()


def not_let_in(**options):
    started = time.monotonic()
    try:
        client = MilvusClient(url(), timeout=CALL_MAX_S, **options)
        client.list_collections()
    except Exception as error:  # what it is called differs with where it is noticed
        text = str(error)
        assert time.monotonic() - started < 10, "it must not be tried again"
        # What pymilvus makes of a refusal when it connects.
        assert "auth check failure" in text or "Fail connecting to server" in text, text
        return text
    raise AssertionError(f"let in: {options}")


def raw(token=None, **metadata):
    """The calls themselves, without what pymilvus makes of them."""
    channel = grpc.insecure_channel(url().removeprefix("http://"))
    pairs = [(key.replace("_", "-"), value) for key, value in metadata.items()]
    if token:
        pairs.append(("authorization", base64.b64encode(token.encode()).decode()))
    stub = milvus_pb2_grpc.MilvusServiceStub(channel)

    def call(name, request):
        try:
            return getattr(stub, name)(request, metadata=pairs, timeout=CALL_MAX_S), None
        except grpc.RpcError as error:
            return None, error

    return call


def strangers_are_not_let_in(client):
    for options in [{}, {"token": "root:wrong-secret"}, {"token": "nobody:Milvus"}, {"token": "an-api-key"},
                    {"user": "root", "password": "wrong-secret"}, {"token": ":"}]:
        text = not_let_in(**options)
        assert "secret" not in text, text
    for token, says in [(None, "missing authorization in header"), ("an-api-key", "please check api key is correct"),
                        ("root:wrong-secret", "auth check failure, please check username and password are correct"),
                        ("nobody:Milvus", "auth check failure, please check username and password are correct")]:
        _, error = raw(token)("GetVersion", milvus_pb2.GetVersionRequest())
        assert error.code() == grpc.StatusCode.UNAUTHENTICATED and says in error.details(), error
    same(client.list_collections(), [])


def no_call_is_answered_without_a_token_or_against_privileges(client):
    """What each call needs is read from the descriptors of Milvus, not from a table of ours."""
    fresh(client, "plain")
    service = milvus_pb2.DESCRIPTOR.services_by_name["MilvusService"]
    stranger, plain = raw(), raw("plain:first-secret")
    forged = raw(sourceid="QGRvYzpiYm9zZG9j", elanus_user="root", dbname="default")
    served, checked = 0, set()
    # What everybody may, and what an empty message is not about anything of.
    free = {"DescribeCollection", "IndexDetail", "ListAliases", "Flush", "DescribeAlias", "GetStatistics"}
    for method in service.methods:
        if method.client_streaming or method.server_streaming:
            continue
        request = getattr(milvus_pb2, method.input_type.name, None)
        if request is None:
            continue
        _, error = plain(method.name, request())
        if error is not None and error.code() == grpc.StatusCode.UNIMPLEMENTED:
            continue
        served += 1
        for nobody in (stranger, forged):
            _, refusal = nobody(method.name, request())
            assert refusal is not None and refusal.code() == grpc.StatusCode.UNAUTHENTICATED, (method.name, refusal)
        options = method.input_type.GetOptions()
        if not options.HasExtension(common_pb2.privilege_ext_obj):
            continue
        wanted = common_pb2.ObjectPrivilege.Name(options.Extensions[common_pb2.privilege_ext_obj].object_privilege)
        if wanted.removeprefix("Privilege") in free:
            continue
        assert error is not None and error.code() == grpc.StatusCode.PERMISSION_DENIED, (method.name, wanted, error)
        assert error.details().startswith(f"{wanted}: permission deny to plain in the `default` database"), error.details()
        checked.add(wanted)
    assert served > 70 and len(checked) > 35, (served, len(checked))
    client.drop_user("plain")


def users_come_change_their_passwords_and_go(client):
    client.create_user("ann", "first-secret", description="of the shop")
    same(client.describe_user("ann"), {"user_name": "ann", "roles": (), "description": "of the shop"})
    same(sorted(client.list_users()), ["ann", "root"])
    with refused(65535, "user already exists: ann"):
        client.create_user("ann", "other-secret")
    with refused(1100, "invalid password length: invalid parameter[5 out of range 6 <= value <= 72]"):
        client.create_user("bob", "short")
    with refused(1100, "invalid user name 1a, the first character must be a letter"):
        client.create_user("1a", "first-secret")
    ann = connect("ann", "first-secret")
    same(ann.list_collections(), [])
    same(ann.describe_user("ann")["user_name"], "ann")
    with denied("SelectUser", "ann"):
        ann.describe_user("root")
    with denied("UpdateUser", "ann"):
        ann.update_password("root", "Milvus", "second-secret")
    with refused(1400, "old password not correct for ann: not authenticated"):
        ann.update_password("ann", "wrong-secret", "second-secret")
    with refused(1400, "old password not correct for nobody"):
        client.update_password("nobody", "first-secret", "second-secret")
    ann.update_password("ann", "first-secret", "second-secret")
    # What was let in before is not any more.
    with refused_by_the_door():
        ann.list_collections()
    not_let_in(token="ann:first-secret")
    same(connect("ann", "second-secret").list_collections(), [])
    ann = connect("ann", "second-secret")
    ann.update_password("ann", "second-secret", "third-secret", reset_connection=True)
    same(ann.list_collections(), [])
    client.update_user("ann", description="again")
    same(client.describe_user("ann")["description"], "again")
    client.drop_user("ann")
    client.drop_user("ann")
    with refused_by_the_door():
        ann.list_collections()
    same(client.describe_user("ann"), {})
    with refused(1401, "root user cannot be deleted"):
        client.drop_user("root")


def refused_by_the_door():
    class Refused:
        def __enter__(self):
            return self

        def __exit__(self, kind, error, _):
            assert kind is not None and "auth check failure" in str(error), error
            return True

    return Refused()


def roles_and_the_first_way_to_grant(client):
    same(sorted(client.list_roles()), ["admin", "public"])
    same(sorted(one["privilege"] for one in client.describe_role("public")["privileges"]),
         ["DescribeCollection", "IndexDetail", "ListAliases"])
    client.create_role("loader", description="loads")
    with refused(65535, 'role [name:"loader"] already exists'):
        client.create_role("loader")
    small_collection(client, "docs")
    ben = fresh(client, "ben", "loader")
    same(client.describe_user("ben")["roles"], ("loader",))
    client.grant_role("ben", "loader")
    with denied("Load", "ben"):
        ben.load_collection("docs")
    with denied("DropCollection", "ben"):
        ben.drop_collection("docs")
    same(ben.list_collections(), [])
    client.grant_privilege("loader", "Collection", "Load", "docs")
    ben.load_collection("docs")
    same(ben.list_collections(), ["docs"])
    granted = {(one["object_type"], one["object_name"], one["db_name"], one["privilege"], one["grantor_name"])
               for one in client.describe_role("loader")["privileges"]}
    same(granted, {("Collection", "docs", "default", name, "root")
                   for name in ("Load", "GetLoadState", "GetLoadingProgress")})
    with denied("Release", "ben"):
        ben.release_collection("docs")
    client.grant_privilege("loader", "Global", "DropCollection", "*")
    for wrong, text in [(("loader", "Collection", "Fly", "docs"), "not found the privilege name[Fly] in object[Collection]"),
                        (("loader", "Collection", "CreateCollection", "docs"), "in object[Collection]"),
                        (("loader", "Thing", "Load", "docs"), "not found the object type[name: Thing]"),
                        (("loader", "Global", "ClusterAdmin", "*"), "can not operate the built-in privilege group"),
                        (("nobody", "Collection", "Load", "docs"), "not found the role, maybe the role isn't existed")]:
        with refused(65535, text):
            client.grant_privilege(*wrong)
    with refused(65535, "fail to drop the role that it has privileges"):
        client.drop_role("loader")
    with refused(1401, "the role[public] is a default role, which can't be dropped"):
        client.drop_role("public")
    with refused(65535, "not found the user, maybe the user isn't existed"):
        client.grant_role("nobody", "loader")
    client.revoke_privilege("loader", "Collection", "Load", "docs")
    with denied("Load", "ben"):
        ben.load_collection("docs")
    same([one["privilege"] for one in client.describe_role("loader")["privileges"]], ["DropCollection"])
    client.revoke_role("ben", "loader")
    with denied("DropCollection", "ben"):
        ben.drop_collection("docs")
    client.drop_role("loader", force_drop=True)
    client.drop_user("ben")
    client.drop_collection("docs")


def the_second_way_groups_and_databases(client):
    client.create_database("shop")
    shop = connect("root", "Milvus", db_name="shop")
    small_collection(client, "docs")
    small_collection(client, "notes")
    small_collection(shop, "docs", range(3))
    client.create_role("reader")
    cat = fresh(client, "cat", "reader")
    client.grant_privilege_v2("reader", "CollectionReadOnly", "docs", "default")
    same(count(cat, "docs"), 10)
    same(cat.list_collections(), ["docs"])
    same(cat.list_databases(), ["default"])
    with denied("Query", "cat"):
        count(cat, "notes")
    with denied("Insert", "cat"):
        cat.insert("docs", [small_row(1)])
    # The database of the message and that of the metadata: neither opens the other one.
    in_shop = connect("cat", "first-secret", db_name="shop")
    with denied("Query", "cat", "shop"):
        count(in_shop, "docs")
    forged = raw("cat:first-secret", dbname="default")
    _, error = forged("Query", milvus_pb2.QueryRequest(db_name="shop", collection_name="docs", expr="id > 0"))
    assert error.code() == grpc.StatusCode.PERMISSION_DENIED and "`shop` database" in error.details(), error
    # An id does not, either, nor does an alias.
    shop_docs = shop.describe_collection("docs")["collection_id"]
    _, error = raw("cat:first-secret")(
        "ManualCompaction", milvus_pb2.ManualCompactionRequest(collectionID=shop_docs, collection_name="docs"))
    assert error.code() == grpc.StatusCode.PERMISSION_DENIED, error
    client.create_alias("notes", "docs_too")
    with denied("Query", "cat"):
        count(cat, "docs_too")
    client.alter_alias("docs", "docs_too")
    same(count(cat, "docs_too"), 10)

    client.create_privilege_group("writes")
    client.add_privileges_to_group("writes", ["Insert", "Delete"])
    groups = {one["privilege_group"]: set(one["privileges"]) for one in client.list_privilege_groups()}
    same(groups["writes"], {"Insert", "Delete"})
    assert {"PinSnapshotData", "UnpinSnapshotData"} <= groups["ClusterReadWrite"], groups["ClusterReadWrite"]
    client.grant_privilege_v2("reader", "writes", "docs", "default")
    cat.insert("docs", [small_row(11)])
    cat.delete("docs", ids=[11])
    client.remove_privileges_from_group("writes", ["Insert"])
    with denied("Insert", "cat"):
        cat.insert("docs", [small_row(11)])
    with refused(65535, "privilege group [writes] is used by role [reader]"):
        client.drop_privilege_group("writes")
    with refused(1100, "is defined by built in privileges or privilege groups in system"):
        client.create_privilege_group("ClusterAdmin")
    with refused(65535, "privileges are not the same privilege level"):
        client.add_privileges_to_group("writes", ["CreateDatabase"])
    with refused(1100, "dbName and collectionName should be * for the cluster level privilege: ClusterAdmin"):
        client.grant_privilege_v2("reader", "ClusterAdmin", "docs", "default")
    with refused(1100, "collectionName should be * for the database level privilege"):
        client.grant_privilege_v2("reader", "DatabaseAdmin", "docs", "default")
    with refused(65535, "not found the privilege name[Fly]"):
        client.grant_privilege_v2("reader", "Fly", "docs", "default")

    client.grant_privilege_v2("reader", "DatabaseAdmin", "*", "shop")
    raw("cat:first-secret", dbname="shop")("CreateCollection", collection("made"))
    assert "made" in shop.list_collections()
    with denied("CreateCollection", "cat"):
        answer(raw("cat:first-secret")("CreateCollection", collection("made")))
    in_shop.drop_collection("made")
    client.grant_role("cat", "admin")
    same(count(in_shop, "docs"), 3)
    assert set(cat.list_databases()) >= {"default", "shop"}
    client.revoke_role("cat", "admin")
    client.drop_role("reader", force_drop=True)
    client.drop_privilege_group("writes")
    client.drop_user("cat")
    shop.drop_collection("docs")
    client.drop_database("shop")
    client.drop_alias("docs_too")
    for name in ("docs", "notes"):
        client.drop_collection(name)


def answer(found):
    result, error = found
    if error is not None:
        raise error
    return result


def collection(name):
    schema = MilvusClient.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
    return Prepare.create_collection_request(name, schema)


def snapshots_need_rights_of_their_own_and_of_the_target(client):
    small_collection(client, "docs", range(20))
    client.create_role("keeper")
    dan = fresh(client, "dan", "keeper")
    grant = lambda privilege, name="docs": client.grant_privilege_v2("keeper", privilege, name, "default")
    with denied("CreateSnapshot", "dan"):
        dan.create_snapshot("first", "docs")
    grant("CreateSnapshot")
    dan.create_snapshot("first", "docs")
    with denied("ListSnapshots", "dan"):
        dan.list_snapshots("docs")
    grant("CollectionReadWrite")
    same(list(dan.list_snapshots("docs")), ["first"])
    same(dan.describe_snapshot("first", "docs").name, "first")
    client.delete("docs", filter="id >= 5")

    with denied("RestoreSnapshot", "dan"):
        dan.restore_snapshot("first", "docs", "back")
    grant("RestoreSnapshot")
    # The source is not enough.
    with denied("RestoreSnapshot", "dan"):
        dan.restore_snapshot("first", "docs", "back")
    grant("RestoreSnapshot", "back")
    job = dan.restore_snapshot("first", "docs", "back")
    restored_by(dan, job)
    same(sum(one.job_id == job for one in dan.list_restore_snapshot_jobs(collection_name="back")), 1)

    eve = fresh(client, "eve")
    with denied("RestoreSnapshot", "eve"):
        eve.get_restore_snapshot_state(job)
    with denied("RestoreSnapshot", "eve"):
        eve.list_restore_snapshot_jobs(collection_name="back")
    with denied("RestoreSnapshot", "eve"):
        eve.list_restore_snapshot_jobs(collection_name="docs")
    with denied("PinSnapshotData", "dan"):
        dan.pin_snapshot_data("first", "docs", ttl_seconds=60)
    client.grant_privilege_v2("keeper", "ClusterReadWrite", "*", "*")
    pin = dan.pin_snapshot_data("first", "docs", ttl_seconds=60)
    dan.unpin_snapshot_data(pin)

    # The restored collection is the one of then, and rights went with no snapshot: names have them.
    with denied("Query", "dan"):
        count(dan, "back")
    client.load_collection("back")
    same(len(rows(client, "back")), 20)
    same(keys(rows(client, "docs")), list(range(5)))
    restore(client, "first", "docs", "again")
    same(rows(client, "again"), rows(client, "back"))
    same(client.describe_collection("again")["fields"], client.describe_collection("docs")["fields"])
    same(len(client.describe_role("keeper")["privileges"]), 5)
    for name in ("back", "again"):
        client.drop_collection(name)
    client.drop_snapshot("first", "docs")
    client.drop_collection("docs")
    client.drop_role("keeper", force_drop=True)
    client.drop_user("dan")
    client.drop_user("eve")


def restored_by(client, job):
    until = time.monotonic() + 60
    while client.get_restore_snapshot_state(job).state != "RestoreSnapshotCompleted":
        assert time.monotonic() < until
        time.sleep(0.02)


def guessing_is_slowed_down_and_locks_out_nobody_at_work(client):
    client.create_user("fay", "first-secret")
    fay = connect("fay", "first-secret")
    same(fay.list_collections(), [])
    guess = raw("fay:wrong-secret")
    codes = [guess("GetVersion", milvus_pb2.GetVersionRequest())[1].code() for _ in range(14)]
    same(codes[:10], [grpc.StatusCode.UNAUTHENTICATED] * 10)
    same(codes[12:], [grpc.StatusCode.RESOURCE_EXHAUSTED] * 2)
    # Whoever is at work goes on; others are not touched.
    same(fay.list_collections(), [])
    same(client.list_collections(), [])
    same(fresh(client, "gus").list_collections(), [])
    client.drop_user("fay")
    client.drop_user("gus")


def no_secret_is_in_the_log(_):
    with open(LOG, encoding="utf-8", errors="replace") as log:
        text = log.read()
    assert len(text) > 1000, "there is no log"
    tokens = [base64.b64encode(one.encode()).decode() for one in
              [*SECRETS[1:], "root:Milvus", *(f"{user}:{secret}" for user in ("ann", "fay", "root") for secret in SECRETS[1:])]]
    for secret in [*SECRETS[1:], "argon2id", *tokens]:
        assert secret not in text, [line for line in text.splitlines() if secret in line][:3]
    assert "root still has the password that everybody knows" in text


run(
    strangers_are_not_let_in,
    no_call_is_answered_without_a_token_or_against_privileges,
    users_come_change_their_passwords_and_go,
    roles_and_the_first_way_to_grant,
    the_second_way_groups_and_databases,
    snapshots_need_rights_of_their_own_and_of_the_target,
    guessing_is_slowed_down_and_locks_out_nobody_at_work,
    no_secret_is_in_the_log,
    token="root:Milvus",
)
