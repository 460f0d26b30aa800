(* The whole certificate: read, handed to the verified checker, and what it found put into words. *)

open Refusal

let schema = "lipverify-certificate/1"
let pairs = [ "l2->l2"; "l2->linf" ]

(* What is to be said of one statement once the verified checker has spoken. *)
type derivation =
  | Nothing  (* no bound is stated *)
  | Asked of int  (* the region of that number among those that are asked for *)
  | Stopped of exn * int option  (* at a step that may not be taken; the steps before it, as a region *)

let reason = function Refused text | Disproved text | Unchecked text -> text | other -> raise other

let read_weights tensors weights (outcome : Outcome.t) =
  let entries =
    match tensors with Json.Object pairs -> Array.to_list pairs | _ -> refused "the weights are no object"
  in
  let check (name, value) =
    let get = Reading.fields value (Printf.sprintf "the weight %s" (Text.repr name)) [ "dtype"; "shape"; "sha256" ] in
    match Safetensors.entry weights name with
    | None -> disproved "the weight %s is not in the weights' file" (Text.repr name)
    | Some entry ->
        let shape = Reading.shape (get "shape") name in
        if get "dtype" <> Json.Text entry.dtype || shape <> entry.shape
           || get "sha256" <> Json.Text (Sha256.hex (Safetensors.bytes weights entry))
        then disproved "the weight %s is another one than that of the certificate" (Text.repr name)
  in
  List.iter check (List.sort (fun (a, _) (b, _) -> compare a b) entries);
  let line = Printf.sprintf "the digests of the body, the graph and %d weights" (List.length entries) in
  outcome.accepted <- line :: outcome.accepted;
  List.map fst entries

(* No bound depends on a bias, but a graph with half a bias is no graph. *)
let read_biases (graph : Graph.t) arrays outcome =
  let read (node : Graph.node) =
    if node.map.bias <> Json.Null then
      match Arrays.read arrays node.map.bias (Printf.sprintf "the bias of %s" (Text.repr node.value)) with
      | _ -> ()
      | exception Unchecked reason -> Outcome.trust outcome reason
  in
  Array.iter read graph.nodes

(* What is asked of the verified checker for a region; [add] numbers a region that is asked for. *)
let derive (context : Translation.t) (region : Regions.t) steps upper ~trust ~add =
  let rows = region.norm = "l2->linf" in
  let asked start stop steps bound =
    let index value = Translation.index context.graph value in
    add
      {
        Verified.start0 = index start;
        stop0 = index stop;
        each = rows;
        steps = List.rev steps;
        bound = Operators.to_q bound;
      }
  in
  match
    let start, stop = Regions.ends context.graph region in
    if not (List.mem region.norm pairs) then unchecked "the norm pair %s" (Text.prefix 40 region.norm);
    if region.path = "" && start <> context.graph.input then
      disproved "the whole does not begin at the graph's input";
    (start, stop)
  with
  | exception ((Refused _ | Disproved _ | Unchecked _) as why) -> Stopped (why, None)
  | start, stop -> (
      let derivation = Steps.start context start ~rows ~trust in
      let taken = ref [] and last = ref None in
      let take step =
        taken := Steps.take derivation step :: !taken;
        last := Some (Reading.get step "value", Reading.get step "upper")
      in
      match
        (* The verified checker finds a node or a norm in a list, by going through it. *)
        let listed = Array.length context.graph.nodes + context.count in
        Arrays.look_up context.arrays (Array.length steps) listed region.where;
        Array.iter take steps;
        if not (Steps.reached derivation stop) then disproved "its steps lead elsewhere"
      with
      | () -> Asked (asked start stop !taken upper)
      | exception ((Refused _ | Disproved _ | Unchecked _) as why) ->
          (* A step that is UNCHECKED does not excuse one before it that does not hold. *)
          let before =
            match !last with
            | Some (Text value, bound) -> Some (asked start value !taken (Numbers.hex_number bound))
            | _ -> None
          in
          Stopped (why, before))

(* Whether a derivation held; None: it is UNCHECKED. *)
let say (outcome : Outcome.t) what holds derivation =
  let refuse why = outcome.refused <- Printf.sprintf "%s: %s" what why :: outcome.refused; Some false in
  match derivation with
  | Nothing -> Some false
  | Asked i when holds i -> outcome.accepted <- what :: outcome.accepted; Some true
  | Asked _ -> refuse "its steps or the norms that they rest on do not show it"
  | Stopped (_, Some i) when not (holds i) -> refuse "its steps or the norms that they rest on do not show it"
  | Stopped (Unchecked why, _) ->
      outcome.unchecked <- Printf.sprintf "%s: %s" what why :: outcome.unchecked;
      None
  | Stopped (why, _) -> refuse (reason why)

(* Of a norm only what does not hold is said. *)
let say_norm (outcome : Outcome.t) holds (name, asked) =
  let text why = Printf.sprintf "the norm %s: %s" (Text.repr name) why in
  match asked with
  | Ok (norm : Translation.stated) when holds norm.index -> ()
  | Ok norm ->
      let square = Json.shown (norm.statement.fields "square") and short = Text.repr (Text.prefix 200 name) in
      let why = Printf.sprintf "the norm %s is not shown to be at most the root of %s" short square in
      outcome.refused <- text why :: outcome.refused
  | Error (Unchecked why) -> outcome.unchecked <- text why :: outcome.unchecked
  | Error why -> outcome.refused <- text (reason why) :: outcome.refused

(* What becomes of a claim, its bound derived or not. *)
let judge (outcome : Outcome.t) (region : Regions.t) upper derived bound =
  let claim = Reading.get (region.get "claim") "bound" in
  let verdict = Json.shown (region.get "verdict") in
  let what = Printf.sprintf "%s: %s <= %s" region.where verdict (Json.shown claim) in
  let unchecked text = outcome.unchecked <- text :: outcome.unchecked in
  let below = match upper with Some u -> Q.leq u bound | None -> false in
  let other =
    match region.get "rule" with
    | Text rule when String.length rule >= 10 && String.sub rule 0 10 = "unchecked:" ->
        Some (String.trim (String.sub rule 10 (String.length rule - 10)))
    | _ -> None
  in
  match verdict with
  | "PROVED" -> (
      if derived = Some true && below then outcome.accepted <- what :: outcome.accepted
      else if derived = None && below then unchecked (what ^ ", as its bound is")
      else
        match other with
        | Some rule when upper = None || (derived = Some true && not below) ->
            unchecked (Printf.sprintf "%s by %s" what rule)
        | _ -> outcome.refused <- (what ^ ", but no bound that holds reaches it") :: outcome.refused)
  | "REFUTED" -> unchecked (what ^ ": no witness of it is evaluated here")
  | _ -> outcome.opened <- what :: outcome.opened

let run certificate weights (outcome : Outcome.t) =
  let data = Json.read certificate in
  (match Reading.get data "schema" with
  | Text found when found = schema -> ()
  | found ->
      let stated =
        match found with
        | Null -> "it is no certificate: it has no schema"
        | value -> "its schema is " ^ Text.repr (Text.prefix 60 (Json.shown value))
      in
      refused "%s; %s is read: write it again: lipverify audit MODEL --certificate FILE" stated schema);
  let top =
    Reading.fields data "the certificate" [ "schema"; "body"; "sha256" ] ~optional:[ "evidence"; "made" ]
  in
  let body = top "body" and evidence = top "evidence" in
  if top "sha256" <> Json.Text (Json.digest body) then disproved "the digest of the body is not that of its text";
  let get = Reading.fields body "the body" [ "semantics"; "weights"; "graph"; "norms"; "regions"; "margins" ] in
  if get "semantics" <> Json.Text "real" then
    refused "its semantics is %s; real is read" (Text.repr (Text.prefix 40 (Json.shown (get "semantics"))));
  let stated = read_weights (get "weights") weights outcome in
  let graph = Graph.read (get "graph") in
  let trust = Outcome.trust outcome in
  let arrays = Arrays.make stated weights trust in
  let names = match get "norms" with Object pairs -> Array.map fst pairs | _ -> refused "the norms are no object" in
  read_biases graph arrays outcome;
  let context = Translation.make graph arrays (get "norms") evidence in
  let ask name =
    match Translation.norm context name with
    | norm -> Ok norm
    | exception ((Refused _ | Disproved _ | Unchecked _) as why) -> Error why
  in
  let norms = Array.map (fun name -> (name, ask name)) names in
  let stated = Reading.list (get "regions") "the regions" in
  if stated = [||] then refused "there are no regions: nothing is stated";
  let seen = Hashtbl.create 16 in
  let regions = Array.to_list (Array.map (Regions.read seen outcome) stated) in
  let witnesses = Regions.read_witnesses graph evidence regions in
  let list = ref [] and count = ref 0 in
  let add region = list := region :: !list; incr count; !count - 1 in
  let prepare (region : Regions.t) =
    let upper = match region.get "upper" with Null -> None | value -> Some (Numbers.hex_number value) in
    let steps = Reading.list (region.get "steps") region.where in
    (region, upper, match upper with None -> Nothing | Some u -> derive context region steps u ~trust ~add)
  in
  let prepared = List.map prepare regions in
  let margins = Reading.list (get "margins") "the margins" in
  let margins = Array.mapi (fun i margin -> Regions.read_margin graph (i + 1) margin) margins in
  (* Everything is read: the verified checker decides. *)
  let norm_holds, region_holds = Translation.check context (List.rev !list) in
  Array.iter (say_norm outcome (Array.get norm_holds)) norms;
  let conclude ((region : Regions.t), upper, derivation) =
    let bound = match upper with None -> "" | Some _ -> Regions.shown (region.get "upper") in
    let what = Printf.sprintf "%s has a constant of at most %s" region.where bound in
    let derived = say outcome what (Array.get region_holds) derivation in
    let witness ratio =
      let what = Printf.sprintf "%s has no constant below %s, by two inputs" region.where ratio in
      outcome.unchecked <- (what ^ ": witnesses are not evaluated here") :: outcome.unchecked
    in
    List.iter witness (witnesses region);
    Option.iter (judge outcome region upper derived) region.bound
  in
  List.iter conclude prepared;
  Array.iter (fun where -> outcome.unchecked <- (where ^ ": margins are not checked here") :: outcome.unchecked) margins

(* Check every statement of a certificate (its bytes) of these weights. *)
let check certificate weights =
  let outcome = Outcome.make () in
  let unreadable why = outcome.unreadable <- Some (why ^ " (nothing is accepted)") in
  (try run certificate weights outcome with
  | Disproved why | Unchecked why -> outcome.refused <- why :: outcome.refused
  | Refused why -> unreadable why
  | Out_of_memory -> unreadable "too little memory"
  | Stack_overflow -> unreadable "too little stack"
  | other -> unreadable (Printexc.to_string other));
  outcome
