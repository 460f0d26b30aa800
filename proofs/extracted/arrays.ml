(* The numbers of the arrays of a certificate: stored tensors and inline numbers. (Folded ones are UNCHECKED.) *)

open Refusal

(* Entry k of the array is [at k], 0 <= k < count; it is known exactly, or to within a radius that is not kept. *)
type numbers = { shape : int list; count : int; at : int -> float; exact : bool }

type t = {
  stated : (string, unit) Hashtbl.t;  (* the weights whose digests the certificate states *)
  weights : Safetensors.t;
  trust : string -> unit;
  mutable left : int;  (* steps *)
  mutable unseen : int;  (* entries of matrices that the verified checker may still look up *)
}

let inline = 256
let max_entries = 1 lsl 24

(* Steps that a certificate may ask for, of about 10^-7 seconds: so many, and more for each number of the weights. *)
let budget = 1 lsl 27
let each = 1 lsl 9

(* The verified checker looks up every entry of a matrix, zeros too: in all so many. It also recurses over lists, the
   longest of which the stack of a process (8 MB) has to hold. *)
let most_looked_up = 1 lsl 28
let largest = 1 lsl 25
let longest = 1 lsl 17

let make stated weights trust =
  let all = Hashtbl.create 64 in
  let size name =
    Hashtbl.replace all name ();
    Option.fold (Safetensors.entry weights name) ~none:0 ~some:(fun (e : Safetensors.entry) -> Reading.product e.shape)
  in
  let total = List.fold_left (fun sum name -> sum + size name) 0 stated in
  { stated = all; weights; trust; left = budget + (each * total); unseen = most_looked_up }

(* [Refused] where a certificate asks for more steps in all than its budget. *)
let spend arrays steps =
  let steps = if Z.fits_int steps then Z.to_int steps else max_int / 2 in
  arrays.left <- max (arrays.left - steps) (min_int / 4);
  if arrays.left < 0 then refused "more steps in all than weights of this size deserve"

(* [Unchecked] where the verified checker would have more to look up than it can: of a matrix every entry, so many
   times. *)
let look_up arrays ?(times = 1) rows columns where =
  if max rows columns > longest || rows * columns > largest then
    unchecked "%s: %d x %d entries, more than are looked up here" where rows columns;
  let count = times * rows * columns in
  if count > arrays.unseen then unchecked "%s: more entries in all than are looked up here" where;
  arrays.unseen <- arrays.unseen - count

(* The first two axes exchanged and all others reversed. *)
let transposed (n : Safetensors.numbers) =
  match n.dimensions with
  | out :: inner :: taps ->
      let t = Reading.product taps in
      let at k =
        let pair = k / t and tap = k mod t in
        n.values.(((((pair mod out) * inner) + (pair / out)) * t) + (t - 1 - tap))
      in
      { shape = inner :: out :: taps; count = out * inner * t; at; exact = true }
  | _ -> assert false

let has value key = match value with Json.Object pairs -> Reading.find pairs key <> None | _ -> false

let stored arrays value where =
  let get = Reading.fields value where [ "shape"; "weight" ] ~optional:[ "transposed" ] in
  let name = Reading.text (get "weight") where in
  if not (Hashtbl.mem arrays.stated name) then
    refused "%s reads the weight %s, whose digest is not stated" where (Text.repr name);
  let turned =
    match get "transposed" with Bool b -> b | Null -> false | _ -> refused "%s: transposed is true or false" where
  in
  let found = Safetensors.numbers arrays.weights name in
  if turned then begin
    if List.length found.dimensions < 2 then
      refused "%s transposes %s, which has no two axes" where (Text.repr name);
    transposed found
  end
  else { shape = found.dimensions; count = Array.length found.values; at = Array.get found.values; exact = true }

(* Runs of equal numbers, or numbers one by one. *)
let written arrays value shape where =
  let runs, radii =
    if has value "runs" then
      let get = Reading.fields value where [ "shape"; "runs" ] in
      let run pair =
        match Reading.list ~length:2 pair where with [| n; m |] -> (n, Reading.natural m where) | _ -> assert false
      in
      (Array.map run (Reading.list (get "runs") where), Json.Null)
    else
      let get = Reading.fields value where [ "shape"; "numbers" ] ~optional:[ "radii" ] in
      (Array.map (fun n -> (n, 1)) (Reading.list (get "numbers") where), get "radii")
  in
  let total = Array.fold_left (fun sum (_, count) -> sum + count) 0 runs in
  let size = Reading.product shape in
  if Array.length runs > inline || total <> size || size > max_entries then
    refused "%s holds more than %d numbers, or others than of its shape" where inline;
  let values = Array.map (fun (n, _) -> Numbers.signed (Reading.text n where) where) runs in
  if radii <> Json.Null then
    Array.iter (fun n -> ignore (Numbers.hex_float n)) (Reading.list ~length:size radii where);
  arrays.trust "the numbers that the graph itself holds";
  let run = Runs.finder (Array.map snd runs) in
  { shape; count = size; at = (fun k -> values.(fst (run k))); exact = radii = Json.Null }

(* [Refused] where there are none, or others than stated; [Unchecked] where they are not made again here. *)
let rec read arrays value where =
  let shape = Maps.array_shape value where in
  spend arrays (Reading.product_z shape);
  let numbers =
    if has value "weight" then stored arrays value where
    else if has value "numbers" || has value "runs" then written arrays value shape where
    else if has value "fold" then begin
      let get = Reading.fields value where [ "shape"; "fold" ] in
      let made = Fold.shape (get "fold") ~leaf:(fun leaf -> (read arrays leaf where).shape) ~spend:(spend arrays) in
      if not (Z.equal (Reading.product_z made) (Reading.product_z shape)) then
        refused "%s: %s numbers for the shape %s" where (Z.to_string (Reading.product_z made)) (Reading.tuple shape);
      unchecked "the numbers of %s, which are folded" where
    end
    else begin
      let (_ : string -> Json.t) = Reading.fields value where [ "shape"; "trusted" ] in
      unchecked "the numbers of %s, of which the certificate has a digest only" where
    end
  in
  if numbers.count <> Reading.product shape then
    refused "%s: %d numbers for the shape %s" where numbers.count (Reading.tuple shape);
  { numbers with shape }

(* A finite float other than 0 as m 2^e, m odd. *)
let odd v =
  let fraction, e = Float.frexp v in
  let m = int_of_float (Float.ldexp fraction 53) in
  let rec strip m e = if m land 1 = 0 then strip (m asr 1) (e + 1) else (m, e) in
  strip m (e - 53)

let widest = 512

(* Numbers as integers over one power of two, exactly: the integer of entry k, and the exponent. The exponent is small
   enough for the largest entry to have at least [bits] bits.
   [Unchecked] for numbers that are not exact, or too far apart. *)
let dyadic numbers ~bits where =
  if not numbers.exact then unchecked "the numbers of %s, which are known to within radii only" where;
  let least = ref max_int and most = ref min_int in
  for k = 0 to numbers.count - 1 do
    let v = numbers.at k in
    if v <> 0. then begin
      least := min !least (snd (odd v));
      most := max !most (snd (Float.frexp v))
    end
  done;
  if !most = min_int then ((fun _ -> Z.zero), 0)
  else begin
    if !most - !least > widest then unchecked "the numbers of %s, which are more than 2^%d apart" where widest;
    let e = min !least (!most - bits) in
    let entry k =
      if k < 0 || k >= numbers.count then Z.zero
      else
        let v = Float.ldexp (numbers.at k) (-e) in
        if Float.abs v < 0x1p62 then Z.of_int (int_of_float v) else Z.of_float v
    in
    (entry, e)
  end
