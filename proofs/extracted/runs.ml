(* Runs of entries, one after the other. *)

(* Entry i -> which of the runs of these lengths has it, and the how many-th of the run it is. *)
let finder counts =
  let begins = Array.make (Array.length counts + 1) 0 in
  Array.iteri (fun r count -> begins.(r + 1) <- begins.(r) + count) counts;
  fun i ->
    (* Run [low] begins at i or before it, run [high] after it. *)
    let rec within low high =
      if high - low = 1 then (low, i - begins.(low))
      else
        let middle = (low + high) / 2 in
        if begins.(middle) <= i then within middle high else within low middle
    in
    within 0 (Array.length counts)
