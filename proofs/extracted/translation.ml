(* A certificate in the types of the verified checker, as far as they go: what is asked of it is collected here. *)

open Refusal

type stated = { statement : Norms.statement; index : int  (* among the norms that are asked for *) }

type t = {
  graph : Graph.t;
  arrays : Arrays.t;
  norms : (string, Json.t) Hashtbl.t;
  factors : (string, Json.t) Hashtbl.t;  (* that the certificate offers, by norm *)
  bits : (string, int) Hashtbl.t;  (* weight -> how many bits its largest number needs *)
  linears : (string, Verified.linear) Hashtbl.t;  (* the linear maps that something rests on, by value *)
  known : (string, (stated, exn) result) Hashtbl.t;  (* norms by name *)
  mutable asked : Verified.norm list;  (* the last first *)
  mutable count : int;  (* of them *)
  pairs : (int * int, unit) Hashtbl.t;  (* of adjoint maps *)
}

let index graph value = Hashtbl.find graph.Graph.index value
let node graph value = Option.get (Graph.find graph value)

(* Bits beyond the slack: as many as rounding the factor U to integers needs. *)
let needed slack count =
  let rec log2 n = if n <= 1 then 0 else 1 + log2 (n / 2) in
  slack + 14 + ((log2 count + 1) / 2)

(* The arrays of a map that stand in it as a weight. *)
let rec weights_of (map : Maps.map) =
  let named value = match Reading.get value "weight" with Json.Text name -> [ (name, value) ] | _ -> [] in
  match map.kind with
  | Dense { weight; _ } -> named weight
  | Convolution c -> named c.kernel
  | Adjoint of_ -> weights_of of_
  | Separable (factors, _) -> List.concat_map (fun (_, matrix, _, _) -> named matrix) factors
  | _ -> []

(* Integers of one weight are the same wherever it is read (maps that are adjoint to each other are compared entry by
   entry), so every norm is asked beforehand what it needs. *)
let gather_bits graph norms =
  let bits = Hashtbl.create 16 in
  let note slack (name, value) =
    let count = Reading.product (Maps.array_shape value "") in
    Hashtbl.replace bits name (max (needed slack count) (Option.value (Hashtbl.find_opt bits name) ~default:0))
  in
  let of_norm (_, value) =
    match (Reading.get value "maps", Reading.get value "slack") with
    | List maps, Json.Integer slack when Z.sign slack >= 0 && Z.leq slack (Z.of_int 40) ->
        let slack = if Reading.get value "rule" = Json.Text "separable" then 40 else Z.to_int slack in
        let of_map = function
          | Json.Text name -> (
              match Graph.find graph name with Some node -> List.iter (note slack) (weights_of node.map) | None -> ())
          | _ -> ()
        in
        Array.iter of_map maps
    | _ -> ()
  in
  (match norms with Json.Object pairs -> Array.iter of_norm pairs | _ -> ());
  bits

let by_name value =
  match value with Json.Object pairs -> Hashtbl.of_seq (Array.to_seq pairs) | _ -> Hashtbl.create 1

let make graph arrays norms evidence =
  {
    graph;
    arrays;
    norms = by_name norms;
    factors = by_name (Reading.get evidence "factors");
    bits = gather_bits graph norms;
    linears = Hashtbl.create 64;
    known = Hashtbl.create 64;
    asked = [];
    count = 0;
    pairs = Hashtbl.create 16;
  }

let bits t value =
  match Reading.get value "weight" with
  | Json.Text name -> Option.value (Hashtbl.find_opt t.bits name) ~default:0
  | _ -> needed 40 (Reading.product (Maps.array_shape value ""))

(* The linear map of a node, its numbers read. *)
let linear t (node : Graph.node) where =
  match Hashtbl.find_opt t.linears node.value with
  | Some found -> found
  | None ->
      let made = Operators.linear t.arrays ~bits:(bits t) node.map where in
      Hashtbl.add t.linears node.value made;
      made

let ask t name =
  let where = Printf.sprintf "the norm %s" (Text.repr (Text.prefix 200 name)) in
  match Hashtbl.find_opt t.norms name with
  | None -> refused "%s is not stated" where
  | Some stated ->
      let statement = Norms.read stated where t.graph in
      let offered = Option.map (Norms.read_factor name) (Hashtbl.find_opt t.factors name) in
      let chain = List.map (node t.graph) statement.maps in
      let maps = List.map (fun (n : Graph.node) -> n.map) chain in
      let shown_by =
        Norms.evidence ?offered statement maps where t.arrays ~linear:(fun _ -> linear t (List.hd chain) where)
      in
      let value = index t.graph (List.hd statement.maps) in
      t.asked <- { Verified.value; squared = Operators.to_q statement.square; shown_by } :: t.asked;
      t.count <- t.count + 1;
      { statement; index = t.count - 1 }

(* The norm of that name, asked for once; what kept it from being asked for is raised each time. *)
let norm t name =
  if not (Hashtbl.mem t.known name) then
    Hashtbl.add t.known name
      (match ask t name with
      | stated -> Ok stated
      | exception ((Refused _ | Disproved _ | Unchecked _) as reason) -> Error reason);
  match Hashtbl.find t.known name with Ok stated -> stated | Error reason -> raise reason

(* Functions of one number: with slopes that are proved, and with slopes that are assumed. *)
let proved =
  Verified.
    [ ("abs", Abs); ("asinh", Asinh); ("atan", Atan); ("cos", Cos); ("hardsigmoid", Hardsigmoid);
      ("hardtanh", Hardtanh); ("log_sigmoid", LogSigmoid); ("maximum with a constant", MaximumWithConstant);
      ("minimum with a constant", MinimumWithConstant); ("relu", Relu); ("sigmoid", Sigmoid); ("sin", Sin);
      ("softplus", Softplus); ("softshrink", Softshrink); ("tanh", Tanh); ("tanhshrink", Tanhshrink) ]

let assumed =
  [ ("celu", "0", "1"); ("erf", "0", "11283791671/10000000000"); ("erfc", "-11283791671/10000000000", "0");
    ("gelu", "-1289041452/10000000000", "11289041452/10000000000");
    ("gelu by tanh", "-128994/1000000", "1128994/1000000"); ("hardswish", "-1/2", "3/2");
    ("mish", "-112527/1000000", "1088499/1000000"); ("silu", "-9984/100000", "109984/100000"); ("softsign", "0", "1") ]

(* Slopes that depend on parameters: those stated are believed, if they have this one between them. *)
let with_parameters = [ ("leaky_relu", Q.one); ("prelu", Q.one); ("rrelu", Q.one); ("elu", Q.zero); ("selu", Q.zero) ]

type slopes = Proved | Believed of string  (* what is taken on trust *)

(* A function of that name, with the slopes that are stated; None where it is unknown. *)
let activation name low high =
  match (List.assoc_opt name proved, List.find_opt (fun (n, _, _) -> n = name) assumed) with
  | Some known, _ -> Some (known, Proved)
  | None, Some (_, least, most) ->
      let slopes = Verified.Assumed (Operators.to_q (Q.of_string least), Operators.to_q (Q.of_string most)) in
      Some (slopes, Believed (Printf.sprintf "the slopes of %s, which are not proved here" name))
  | None, None when List.mem_assoc name with_parameters ->
      let slopes = Verified.Assumed (Operators.to_q low, Operators.to_q high) in
      Some (slopes, Believed (Printf.sprintf "the slopes of %s, which depend on its parameters" name))
  | None, None -> None

(* Whether the stated slopes leave room for those of the function. *)
let room name low high =
  let q (x : Verified.q) = Q.make x.qnum x.qden in
  match (List.assoc_opt name with_parameters, activation name low high) with
  | Some slope, _ -> Q.leq low slope && Q.leq slope high
  | None, Some (known, _) ->
      let least, most = Verified.known_slopes known in
      Q.leq low (q least) && Q.leq (q most) high
  | None, None -> false

let verified_node t (node : Graph.node) =
  let entries = Reading.product node.map.output in
  let map_of =
    match (node.map.kind, Hashtbl.find_opt t.linears node.value) with
    | _, Some linear -> Verified.Linear linear
    | Pointwise (name, low, high), _ -> (
        match activation name low high with
        | Some (known, _) -> Verified.Pointwise (known, Operators.to_q low, Operators.to_q high, entries)
        | None -> Verified.Opaque entries)
    | Sum signs, _ -> Verified.Sum (List.map (fun s -> s = 1) signs, entries)
    | _ -> Verified.Opaque entries
  in
  { Verified.map_of; reads = List.map (index t.graph) node.reads }

(* The verdicts of the verified checker: of norms by index, and of regions. *)
let check t regions =
  let nodes = Array.to_list (Array.map (verified_node t) t.graph.nodes) in
  let graph = { Verified.input = Reading.product t.graph.shape; nodes } in
  let norms, regions =
    Verified.check graph (List.rev t.asked) (List.of_seq (Hashtbl.to_seq_keys t.pairs)) regions
  in
  (Array.of_list norms, Array.of_list regions)
